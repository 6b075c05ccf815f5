#pragma once

#include <CLI/CLI.hpp>

#include "app/commands.h"

namespace virtufin::app {

/// `virtufin demo`: the whole path on loopback. A simulated venue plays Binance's spot and futures
/// markets, two connections turn their frames into events, the imbalance worker answers with
/// orders, which are recorded and published. A live table while it runs, a summary that adds up at
/// the end.
///
/// Exit codes: 0; 1 if something could not start or the counts do not add up; 2 for a wrong command
/// line.
void add_demo(CLI::App& cli, Command& command);

}  // namespace virtufin::app
