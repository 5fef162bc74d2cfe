// SPDX-License-Identifier: Apache-2.0
// WordPiece ids: cases worked by hand, and ids that the Python `tokenizers` package gave.
#include "text/wordpiece.hpp"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "errors.hpp"
#include "resources.hpp"
#include "text/unicode.hpp"
#include "wordnet.hpp"

namespace reverse_dictionary {
namespace {

constexpr const char* kVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"    // 0 to 4
    "un\n##aff\n##able\n##ed\nhello\n,\n!\n"  // 5 to 11
    "cafe\n東\n京\nα\n##θ\n-\n[\nunaff\n"     // 12 to 19
    "\xE1\x84\x92\n##\xE1\x85\xA1\n"          // 20, 21: Hangul jamo
    "x\n##x\n]\nsep\n";                       // 22 to 25

using Ids = std::vector<std::int32_t>;

WordPiece small() {
  std::istringstream lines(kVocabulary);
  return WordPiece(lines);
}

Ids ids(std::string_view text) {
  Ids all = small().encode(text);
  EXPECT_EQ(all.front(), 2);
  EXPECT_EQ(all.back(), 3);
  return {all.begin() + 1, all.end() - 1};
}

TEST(WordPiece, TakesTheLongestPieceFirst) {
  EXPECT_EQ(ids("unaffable"), (Ids{19, 7}));
  EXPECT_EQ(ids("uned"), (Ids{5, 8}));
}

TEST(WordPiece, OneUnknownRestMakesTheWordUnknown) {
  EXPECT_EQ(ids("unaffz"), (Ids{1}));
  EXPECT_EQ(ids("hello zzz hello"), (Ids{9, 1, 9}));
}

TEST(WordPiece, PunctuationIsAWordOfItsOwn) {
  EXPECT_EQ(ids("hello,hello!"), (Ids{9, 10, 9, 11}));
  EXPECT_EQ(ids("hello-un"), (Ids{9, 17, 5}));
  EXPECT_EQ(ids("!!"), (Ids{11, 11}));
}

TEST(WordPiece, LowersAndStripsAccents) {
  EXPECT_EQ(ids("HeLLo"), (Ids{9}));
  EXPECT_EQ(ids("Café"), (Ids{12}));
  EXPECT_EQ(ids("cafe\u0301"), (Ids{12}));
  EXPECT_EQ(ids("ΆΘ"), (Ids{15, 16}));
}

TEST(WordPiece, ChineseCharactersStandAlone) {
  EXPECT_EQ(ids("東京"), (Ids{13, 14}));
  EXPECT_EQ(ids("hello東hello"), (Ids{9, 13, 9}));
}

TEST(WordPiece, HangulSyllablesComeApart) { EXPECT_EQ(ids("하"), (Ids{20, 21})); }

TEST(WordPiece, DropsControlsAndTakesEverySpace) {
  EXPECT_EQ(ids("he\x01llo\u200B"), (Ids{9}));
  EXPECT_EQ(ids("\thello\u00A0hello\u3000\r\n"), (Ids{9, 9}));
  EXPECT_EQ(ids("he\xFFllo"), (Ids{9})) << "a broken byte reads as U+FFFD, which is dropped";
}

TEST(WordPiece, EmptyTextIsTheTwoMarks) {
  EXPECT_EQ(small().encode(""), (Ids{2, 3}));
  EXPECT_EQ(small().encode("  \n"), (Ids{2, 3}));
}

TEST(WordPiece, WordsBeyondAHundredLettersAreUnknown) {
  EXPECT_EQ(ids(std::string(100, 'x')).size(), 100U);
  EXPECT_EQ(ids(std::string(101, 'x')), (Ids{1}));
}

TEST(WordPiece, SpecialTokensAreFoundAsWritten) {
  EXPECT_EQ(ids("hello[MASK]hello"), (Ids{9, 4, 9}));
  EXPECT_EQ(ids("[sep]"), (Ids{18, 25, 24}));
}

TEST(WordPiece, CutsToTheLimitAndKeepsTheEnd) {
  EXPECT_EQ(small().encode("hello hello hello", 4), (Ids{2, 9, 9, 3}));
  EXPECT_EQ(small().encode("hello hello", 4), (Ids{2, 9, 9, 3}));
}

TEST(WordPiece, RefusesAVocabularyWithoutItsMarks) {
  std::istringstream lines("[PAD]\nhello\n");
  EXPECT_THROW(WordPiece{lines}, BadInput);
}

TEST(Unicode, BrokenSequencesReadByteByByte) {
  for (const std::string text :
       {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xF5"}) {
    std::size_t position = 0;
    EXPECT_EQ(next_code_point(text, position), 0xFFFDU);
    EXPECT_EQ(position, 1U);
  }
}

TEST(Unicode, Utf8GoesThereAndBack) {
  for (const char32_t code : {0x1U, 0x7FU, 0x80U, 0x7FFU, 0x800U, 0xFFFFU, 0x10000U, 0x10FFFFU}) {
    std::string text;
    append_utf8(code, text);
    std::size_t position = 0;
    EXPECT_EQ(next_code_point(text, position), code);
    EXPECT_EQ(position, text.size());
  }
}

TEST(WordPiece, GlossesGetTheIdsOfTheTokenizersPackage) {
  SKIP_WITHOUT_MODEL();
  SKIP_WITHOUT_WORDNET();
  const WordPiece wordpiece = load_wordpiece(model_directory() / "vocab.txt");
  std::map<std::string, std::string> definitions;
  for (const Synset& synset : load_wordnet(wordnet_directory())) {
    definitions[synset.part_of_speech + std::to_string(synset.offset)] = synset.definition;
  }
  const auto rows = data_table("gloss_tokens.tsv");
  ASSERT_EQ(rows.size(), 300U);
  for (const auto& row : rows) {
    const std::string& definition = definitions.at(row.at(0) + row.at(1));
    std::ostringstream text;
    for (const std::int32_t id : wordpiece.encode(definition)) {
      text << (text.tellp() > 0 ? " " : "") << id;
    }
    EXPECT_EQ(text.str(), row.at(2)) << definition;
  }
}

}  // namespace
}  // namespace reverse_dictionary
