# Instructions that not every assembler knows.
include(CheckCXXSourceCompiles)

# octavo_assembles(INSTRUCTION MACRO SOURCE...): defines the macro for these sources of the current directory
# where the instruction can be assembled; by binutils, if the compiler's own assembler (clang before 16) is older.
# That one warns of a section in which clang 14 speaks to LLVM's linker.
function(octavo_assembles instruction macro)
  foreach(options "" "-fno-integrated-as;-Wa,--no-warn")
    string(MAKE_C_IDENTIFIER "${macro}${options}" works)
    list(JOIN options " " CMAKE_REQUIRED_FLAGS)
    check_cxx_source_compiles("int main() { __asm__ volatile(\"${instruction}\"); }" ${works})
    if(${works})
      set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_DEFINITIONS ${macro})
      set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${options})
      return()
    endif()
  endforeach()
endfunction()
