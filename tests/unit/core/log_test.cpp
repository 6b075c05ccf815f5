#include "core/log.h"

#include <catch2/catch.hpp>

#include "core/errors.h"

using virtufin::Config;
using virtufin::LogConfig;
using virtufin::printable;

TEST_CASE("plain text stays as it is") {
  CHECK(printable("") == "");
  CHECK(printable("BTCUSDT 1.5 ~") == "BTCUSDT 1.5 ~");
  CHECK(printable("Zürich € 😀") == "Zürich € 😀");
}

TEST_CASE("control characters are written as bytes") {
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("a\nb\r\t\x1b[31m\x7f") == "a\\x0ab\\x0d\\x09\\x1b[31m\\x7f");
  CHECK(printable("\xC2\x85") == "\\xc2\\x85");           // C1: next line
  CHECK(printable("\xE2\x80\xA8") == "\\xe2\\x80\\xa8");  // U+2028, line separator
  CHECK(printable("\xE2\x80\xAE") == "\\xe2\\x80\\xae");  // U+202E, turns the line round
  CHECK(printable("\xE2\x81\xA6") == "\\xe2\\x81\\xa6");  // U+2066
  CHECK(printable("\xEF\xBB\xBF") == "\\xef\\xbb\\xbf");  // byte order mark
  CHECK(printable("\xE2\x80\x94") == "\xE2\x80\x94");     // an em dash is text
}

TEST_CASE("broken UTF-8 is written as bytes") {
  CHECK(printable("\x80") == "\\x80");
  CHECK(printable("a\xC3") == "a\\xc3");
  CHECK(printable("\xC0\xAF") == "\\xc0\\xaf");  // longer than needed
  CHECK(printable("\xE0\x80\xAF") == "\\xe0\\x80\\xaf");
  CHECK(printable("\xED\xA0\x80") == "\\xed\\xa0\\x80");           // half of a surrogate pair
  CHECK(printable("\xF4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  CHECK(printable("\xFF\xFEok") == "\\xff\\xfeok");
  CHECK(printable("\xF0\x9F\x98") == "\\xf0\\x9f\\x98");  // cut short
}

TEST_CASE("long text is cut at the limit, never within a character") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef…");
  CHECK(printable("abcdé", 5) == "abcd…");
  CHECK(printable("abc\n", 6) == "abc…");
  CHECK(printable("x", 0) == "…");
  CHECK(printable(std::string(1000, 'x')) == std::string(200, 'x') + "…");
}

TEST_CASE("levels go by module, for loggers before and after") {
  const auto before = virtufin::logger("bus");
  CHECK(virtufin::logger("bus") == before);
  LogConfig config;
  config.level = "warn";
  config.levels = {{"bus", "trace"}, {"gateway", "error"}};
  virtufin::configure_logging(config);
  CHECK(before->level() == spdlog::level::trace);
  CHECK(virtufin::logger("gateway")->level() == spdlog::level::err);
  CHECK(virtufin::logger("venue")->level() == spdlog::level::warn);
  CHECK(before->name() == "bus");
  virtufin::configure_logging({});
  CHECK(before->level() == spdlog::level::info);
}

TEST_CASE("unknown levels are refused by name") {
  auto config =
      Config::parse("[log]\nlevel = \"inf\"\n[log.levels]\nwsm = \"loud\"\n", "x.toml", {});
  REQUIRE(config.ok());
  LogConfig log;
  log.read(config->section("log"));
  CHECK(virtufin::message(config->finish()) ==
        "x.toml:2: log.level: must be one of trace, debug, info, warn, error, off, not 'inf'; did "
        "you mean info?\n"
        "x.toml:3: log.levels: wsm = \"loud\" must be one of trace, debug, info, warn, error, off");
  CHECK(log.level == "info");
}

TEST_CASE("a level for a module that there is not is refused with those that there are") {
  auto config = Config::parse("[log.levels]\nwms = \"debug\"\n", "x.toml", {});
  REQUIRE(config.ok());
  LogConfig log;
  log.read(config->section("log"));
  CHECK(virtufin::message(config->finish()) ==
        "x.toml:1: log.levels: there is no module 'wms'; known are app, bus, core, dapr, gateway, "
        "rpc, state, venue, worker, workmanager, wsm");
}
