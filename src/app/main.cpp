#include "app/commands.h"
#include "app/demo.h"
#include "app/doctor.h"
#include "app/health_command.h"
#include "app/version.h"
#include "modules/workmanager/environment.h"

int main(int argc, char** argv) {
  // Before any thread starts: native workers read their identity from the environment.
  virtufin::prepare_worker_environment();

  CLI::App cli("Virtufin: exchange feeds, strategies and their events, in one process", "virtufin");
  cli.set_version_flag("--version", virtufin::app::version_line());
  cli.require_subcommand(1);

  virtufin::app::Command command;
  virtufin::app::add_run(cli, command);
  virtufin::app::add_demo(cli, command);
  virtufin::app::add_check(cli, command);
  virtufin::app::add_doctor(cli, command);
  virtufin::app::add_config(cli, command);
  virtufin::app::add_health(cli, command);
  virtufin::app::add_version(cli, command);
  return virtufin::app::parse_and_run(cli, command, argc, argv);
}
