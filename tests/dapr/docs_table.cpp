#include "dapr/docs_table.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace virtufin::testing {
namespace {

constexpr char kFile[] = VIRTUFIN_SOURCE_DIR "/docs/dapr-components.md";

std::string row(const std::string& first, const std::vector<std::string>& rest) {
  std::string text = "| " + first + " |";
  for (const std::string& cell : rest) text += ' ' + cell + " |";
  return text + '\n';
}

}  // namespace

void check_docs_table(const std::string& name, const std::vector<std::string>& columns,
                      const std::vector<DocsLine>& lines) {
  std::string table =
      row("", columns) + row("---", std::vector<std::string>(columns.size(), "---"));
  for (const DocsLine& line : lines) {
    REQUIRE(line.answers.size() == columns.size());
    table += row(line.what, line.answers);
  }
  std::ifstream in(kFile);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string begin = "<!-- " + name + " -->\n", end = "<!-- end " + name + " -->";
  const auto from = text.find(begin), to = text.find(end);
  INFO(kFile << " has no " << begin << " … " << end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  const auto at = from + begin.size();
  if (std::getenv("VIRTUFIN_WRITE_DOCS")) {
    text.replace(at, to - at, table);
    std::ofstream(kFile) << text;
    return;
  }
  INFO("to bring it up to date run this test with VIRTUFIN_WRITE_DOCS=1");
  CHECK(text.substr(at, to - at) == table);
}

}  // namespace virtufin::testing
