#pragma once

#include <toml++/toml.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

/// What stands behind core/config.h; for its .cpp files only.
namespace virtufin {

/// One table that is known, with its keys in the order in which they were declared.
struct Config::Table {
  struct Key {
    std::string name;
    std::string doc;
    std::string text;    ///< the value in force, as TOML
    std::string origin;  ///< `default`, `<file>:<line>`, or the environment's name
    bool apart = false;  ///< shown as a comment only: its value comes from the key beside it
  };

  std::string name;                    ///< the last part of the path
  std::string path;                    ///< `gateway.auth`, `wsm.feeds[0]`; empty for the root
  const toml::table* given = nullptr;  ///< in the file
  std::vector<Key> keys;
  std::vector<std::unique_ptr<Table>> tables;

  bool is_array = false;  ///< an array of tables: `entries` instead of keys and tables
  std::string doc;
  std::vector<std::unique_ptr<Table>> entries;

  std::string path_of(std::string_view key) const;
  const Key* find_key(std::string_view key) const;
  Table* find_table(std::string_view key) const;
  Table& add_table(std::string_view key);
};

struct Config::Impl {
  struct Variable {
    std::string name, value;
    bool read = false;
  };

  std::string file;  ///< as complaints call it; empty: none
  toml::table document;
  std::map<std::string, Variable, std::less<>> environment;  ///< by path: `gateway.http_port`
  Table root;
  std::vector<std::string> complaints;

  Variable* variable(const Table& table, std::string_view key);
  /// `<file>:<line>`, the environment's name, or `default`.
  std::string origin(const Table& table, std::string_view key);
  void complain(const Table& table, std::string_view key, std::string_view what);
  void declare(Table& table, Table::Key key);
  /// The table's own and all below it.
  void find_unknown(const Table& table, std::vector<std::string>& out) const;
  void find_unknown_variables(std::vector<std::string>& out) const;

  std::string location(const toml::source_region& source) const;
};

namespace toml_text {

/// A basic string in quotation marks.
std::string quote(std::string_view text);
/// Bare where TOML allows it.
std::string key(std::string_view name);
std::string number(double value);

}  // namespace toml_text

/// The name in `known` that `given` was most likely meant to be; empty if none is near.
std::string_view nearest_name(std::string_view given, const std::vector<std::string>& known);

}  // namespace virtufin
