#pragma once

#include <chrono>
#include <string>

#include "app/summary.h"

namespace virtufin::app {

/// The live table: a heading, then one row a second with rates since the row before.
///
/// On a terminal the heading comes back every twenty rows; elsewhere it is printed once.
class DemoTable {
 public:
  explicit DemoTable(bool terminal) : terminal_(terminal) {}

  /// The row for what was counted by now, heading included where one is due.
  std::string row(const Summary& now);

 private:
  const bool terminal_;
  int rows_ = 0;
  Summary before_;
};

}  // namespace virtufin::app
