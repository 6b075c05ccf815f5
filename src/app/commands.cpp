#include "app/commands.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "app/process.h"
#include "app/signals.h"
#include "app/startup_report.h"
#include "app/version.h"
#include "core/errors.h"
#include "core/log.h"

namespace virtufin::app {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

int fail(const absl::Status& status) {
  fmt::print(stderr, "virtufin: {}\n", message(status));
  return kFailed;
}

/// The option `--config` of a subcommand; its value lives as long as the subcommand's callback.
std::shared_ptr<std::string> config_option(CLI::App& subcommand) {
  auto path = std::make_shared<std::string>();
  subcommand.add_option("--config", *path, "TOML file; without one the defaults stand")
      ->type_name("FILE");
  return path;
}

int run(const std::string& path) {
  auto loaded = load_config(path, Config::process_environment());
  if (!loaded.ok()) return fail(loaded.status());
  configure_logging(loaded->process.log);

  StopSignals signals;
  Process process(std::move(loaded->process));
  const auto stop_asked = [&signals] {
    return signals.wait_for(std::chrono::milliseconds(0)).has_value();
  };
  const absl::Status started = process.start(stop_asked);
  if (absl::IsCancelled(started)) return kOk;
  if (!started.ok()) return fail(started);
  fmt::print("{}\n{}", version_line(),
             aligned(startup_report(process.config(), process.addresses())));
  std::fflush(stdout);

  signals.wait();
  process.stop();
  return kOk;
}

int check(const std::string& path) {
  const auto loaded = load_config(path, Config::process_environment());
  if (!loaded.ok()) return fail(loaded.status());
  for (const std::string& line : unsafe_settings(loaded->process)) fmt::print("unsafe: {}\n", line);
  fmt::print("{}: ok\n", path.empty() ? "defaults and environment" : path);
  return kOk;
}

int print_effective(const std::string& path) {
  const auto loaded = load_config(path, Config::process_environment());
  if (!loaded.ok()) return fail(loaded.status());
  fmt::print("{}", loaded->effective);
  return kOk;
}

}  // namespace

void add_run(CLI::App& cli, Command& command) {
  CLI::App* subcommand = cli.add_subcommand("run", "Run the platform until SIGTERM or Ctrl-C");
  auto path = config_option(*subcommand);
  subcommand->callback([path, &command] { command = [path] { return run(*path); }; });
}

void add_check(CLI::App& cli, Command& command) {
  CLI::App* subcommand = cli.add_subcommand("check", "Validate the configuration, start nothing");
  auto path = config_option(*subcommand);
  subcommand->callback([path, &command] { command = [path] { return check(*path); }; });
}

void add_config(CLI::App& cli, Command& command) {
  CLI::App* subcommand = cli.add_subcommand("config", "Show the configuration");
  auto path = config_option(*subcommand);
  subcommand->add_flag("--effective")
      ->description("What is in force, as TOML, each key with its documentation and origin")
      ->required();
  subcommand->callback([path, &command] { command = [path] { return print_effective(*path); }; });
}

void add_version(CLI::App& cli, Command& command) {
  cli.add_subcommand("version", "Print version, commit and build type")->callback([&command] {
    command = [] {
      fmt::print("{}\n", version_line());
      return kOk;
    };
  });
}

int parse_and_run(CLI::App& cli, const Command& command, int argc, char** argv) {
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? kOk : kUsage;
  }
  return command();
}

}  // namespace virtufin::app
