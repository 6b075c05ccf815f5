#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

/// The command line. Each add_… declares one subcommand; the one that is given sets `command`,
/// which is run when all was parsed. Exit codes: 0, 1 for what failed, 2 for a wrong command line.
namespace virtufin::app {

using Command = std::function<int()>;

void add_run(CLI::App& cli, Command& command);
void add_check(CLI::App& cli, Command& command);
void add_config(CLI::App& cli, Command& command);
void add_version(CLI::App& cli, Command& command);

int parse_and_run(CLI::App& cli, const Command& command, int argc, char** argv);

}  // namespace virtufin::app
