// SPDX-License-Identifier: Apache-2.0
// WordNet's records, the choice of glosses, and the search in them.
#include "wordnet.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "errors.hpp"
#include "nearest.hpp"
#include "queries.hpp"
#include "resources.hpp"

namespace reverse_dictionary {
namespace {

TEST(WordNet, ReadsARecord) {
  const auto synset = parse_synset(
      "00002137 03 n 0b abstraction 0 abstract_entity 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 galore(ip) "
      "0"
      " 001 @ 00001740 n 0000 | a general concept; formed from examples; \"an instance\"; \"x\"  ",
      'n');
  ASSERT_TRUE(synset.has_value());
  EXPECT_EQ(synset->part_of_speech, 'n');
  EXPECT_EQ(synset->offset, 2137U);
  ASSERT_EQ(synset->words.size(), 11U) << "the count is hexadecimal";
  EXPECT_EQ(synset->words[1], "abstract entity");
  EXPECT_EQ(synset->words[10], "galore");
  EXPECT_EQ(synset->definition, "a general concept; formed from examples");
}

TEST(WordNet, SkipsTheLicence) {
  EXPECT_FALSE(parse_synset("  1 This software and database is being provided to you", 'n'));
}

TEST(WordNet, RefusesBrokenRecords) {
  EXPECT_THROW(parse_synset("0000x137 03 n 01 word 0 000 | gloss", 'n'), BadInput);
  EXPECT_THROW(parse_synset("00002137 03 n 01 word 0 000 gloss", 'n'), BadInput);
  EXPECT_THROW(parse_synset("00002137 03 n ff word 0 000 | gloss", 'n'), BadInput);
  EXPECT_THROW(parse_synset("00002137", 'n'), BadInput);
}

TEST(WordNet, DefinitionsEndWhereExamplesBegin) {
  EXPECT_EQ(definition_of("from the beginning  "), "from the beginning");
  EXPECT_EQ(definition_of("to stop; cease;\"stop it!\""), "to stop; cease");
  EXPECT_EQ(definition_of("skin-deep: \"only skin-deep\""), "skin-deep");
  EXPECT_EQ(definition_of("a \"quoted\" word; \"an example\""), "a \"quoted\" word");
  EXPECT_EQ(definition_of("\"all\" of it"), "\"all\" of it");
}

TEST(WordNet, TheWholeDatabaseIsReadable) {
  SKIP_WITHOUT_WORDNET();
  const auto synsets = load_wordnet(wordnet_directory());
  EXPECT_EQ(synsets.size(), 117659U);
  for (const Synset& synset : synsets) {
    ASSERT_FALSE(synset.words.empty());
    ASSERT_FALSE(synset.definition.empty()) << synset.part_of_speech << synset.offset;
  }
}

TEST(WordNet, AMissingDirectoryIsAMissingResource) {
  EXPECT_THROW(load_wordnet("/nonexistent"), MissingResource);
}

std::vector<Synset> numbered(std::uint32_t count) {
  std::vector<Synset> synsets;
  for (std::uint32_t i = 0; i < count; ++i) {
    synsets.push_back({'n', i, {"Word " + std::to_string(i)}, "definition"});
  }
  return synsets;
}

TEST(Queries, ChosenGlossesHoldTheWantedWordsInOrder) {
  const auto chosen = choose_glosses(numbered(100), {"word 3", "word 98"}, 10);
  ASSERT_EQ(chosen.size(), 10U);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end(),
                             [](const Synset& a, const Synset& b) { return a.offset < b.offset; }));
  for (const std::uint32_t wanted : {3U, 98U}) {
    EXPECT_TRUE(std::any_of(chosen.begin(), chosen.end(),
                            [=](const Synset& s) { return s.offset == wanted; }));
  }
  EXPECT_EQ(choose_glosses(numbered(100), {"word 3", "word 98"}, 1).size(), 2U);
  EXPECT_EQ(choose_glosses(numbered(5), {}, 10).size(), 5U);
}

/// Four glosses along the axes of a 16-dimensional space.
GlossIndex axes() {
  GlossIndex index;
  index.synsets = {{'n', 0, {"east", "morning"}, ""},
                   {'n', 1, {"north"}, ""},
                   {'n', 2, {"dawn", "east"}, ""},
                   {'n', 3, {"south"}, ""}};
  index.embeddings.assign(4 * 16, 0.0F);
  const float rows[4][2] = {{1, 0}, {0, 1}, {1, 0}, {0, -1}};
  for (std::size_t i = 0; i < 4; ++i) {
    index.embeddings[i * 16] = rows[i][0];
    index.embeddings[i * 16 + 1] = rows[i][1];
  }
  return index;
}

TEST(Nearest, GlossesByScoreThenByPlace) {
  std::vector<float> query(16, 0.0F);
  query[0] = 1.0F;
  query[1] = -0.5F;
  const auto matches = nearest_glosses(axes(), query, 9);
  ASSERT_EQ(matches.size(), 4U);
  EXPECT_EQ(matches[0].gloss, 0U);
  EXPECT_EQ(matches[1].gloss, 2U);
  EXPECT_EQ(matches[2].gloss, 3U);
  EXPECT_EQ(matches[3].gloss, 1U);
  EXPECT_FLOAT_EQ(matches[3].score, -0.5F);
}

TEST(Nearest, WordsComeOnceEach) {
  std::vector<float> query(16, 0.0F);
  query[0] = 1.0F;
  std::vector<std::string> words;
  for (const RankedWord& ranked : nearest_words(axes(), query, 4)) words.push_back(ranked.word);
  EXPECT_EQ(words, (std::vector<std::string>{"east", "morning", "dawn", "north"}));
  EXPECT_EQ(nearest_words(axes(), query, 50).size(), 5U);
}

}  // namespace
}  // namespace reverse_dictionary
