# SPDX-License-Identifier: Apache-2.0
# COMMAND, a program on ranks one of which is killed, ends with a failure within 20 s and says so.
separate_arguments(COMMAND)
execute_process(COMMAND ${COMMAND} TIMEOUT 20 RESULT_VARIABLE result OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(result STREQUAL "0" OR result MATCHES "timeout")
  message(FATAL_ERROR "must fail within 20 s; got ${result}: ${said}")
endif()
if(NOT said MATCHES "signal 9")
  message(FATAL_ERROR "must say that a rank was killed (signal 9); got ${result}: ${said}")
endif()
