#pragma once

#include <string>
#include <vector>

namespace virtufin::testing {

/// One line of a table in the docs: a property, and what each column has to say to it.
struct DocsLine {
  std::string what;
  std::vector<std::string> answers;
};

/// Holds the table between `<!-- name -->` and `<!-- end name -->` of docs/dapr-components.md
/// against the one given, which follows from what the suite has just been run with; with
/// VIRTUFIN_WRITE_DOCS in the environment it is written there instead.
void check_docs_table(const std::string& name, const std::vector<std::string>& columns,
                      const std::vector<DocsLine>& lines);

}  // namespace virtufin::testing
