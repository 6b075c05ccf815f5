#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace virtufin {

class ConfigSection;

/// The configuration of a process: one TOML file, over it the environment
/// (`VIRTUFIN_<SECTION>__<KEY>`, upper case, `__` between the parts), under it the defaults.
///
/// Every room reads its own section into a struct with defaults. Reading declares the key with its
/// documentation, so what was declared is all that may be given: finish() reports every unknown key
/// with file, line and the nearest known one, every wrong type and every value out of range, all at
/// once. Other `VIRTUFIN_*` names of the environment (no `__`) are ignored.
///
/// Threads: one, before anything starts.
class Config {
 public:
  using Environment = std::map<std::string, std::string>;

  /// `path` empty: no file. NOT_FOUND for a file that is not there, INVALID_ARGUMENT with line and
  /// column for one that does not parse.
  static absl::StatusOr<Config> load(const std::string& path, Environment environment);
  /// The same for the text of a file; `name` is what complaints call it.
  static absl::StatusOr<Config> parse(std::string_view toml, const std::string& name,
                                      Environment environment);
  static Environment process_environment();

  struct Impl;  // both in config_impl.h
  struct Table;

  Config(Config&&) noexcept;
  Config& operator=(Config&&) noexcept;
  ~Config();

  /// `name` may be dotted: `state`, `gateway.auth`.
  ConfigSection section(std::string_view name);

  /// All complaints of what was read, one a line; OK if there are none. Call when all sections are.
  absl::Status finish() const;

  /// What is in force, as TOML that would read the same, with each key's documentation and where
  /// its value is from; secrets as `"***"`.
  std::string effective() const;

 private:
  friend class ConfigSection;
  explicit Config(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Reads the keys of one table. `out` holds the default before, the value in force after; what was
/// refused leaves it at the default. Valid as long as the Config that it is of.
class ConfigSection {
 public:
  struct Range {
    std::int64_t min = std::numeric_limits<std::int64_t>::min();
    std::int64_t max = std::numeric_limits<std::int64_t>::max();
  };

  void value(std::string_view key, bool& out, std::string_view doc);
  void value(std::string_view key, std::int64_t& out, std::string_view doc, Range range);
  void value(std::string_view key, double& out, std::string_view doc);
  void value(std::string_view key, std::string& out, std::string_view doc);
  /// One of a few words.
  void choice(std::string_view key, std::string& out, const std::vector<std::string>& words,
              std::string_view doc);
  /// A list; in the environment separated by commas.
  void value(std::string_view key, std::vector<std::string>& out, std::string_view doc);
  /// A table of strings; not settable by the environment.
  void value(std::string_view key, std::map<std::string, std::string>& out, std::string_view doc);
  /// Like value(), never printed. `<key>_file` is declared beside it: the path of a file with the
  /// value, its last newline not counted.
  void secret(std::string_view key, std::string& out, std::string_view doc);
  /// A table of secrets, never printed but for their names. In the environment one name each, in
  /// lower case: `VIRTUFIN_<SECTION>__<KEY>__<NAME>`.
  void secrets(std::string_view key, std::map<std::string, std::string>& out, std::string_view doc);

  /// Any integer type, within `range` and the type's own.
  template <class Integer>
  requires(std::is_integral_v<Integer> && !std::is_same_v<Integer, bool> &&
           !std::is_same_v<Integer, std::int64_t>) void value(std::string_view key, Integer& out,
                                                              std::string_view doc, Range range) {
    using Limits = std::numeric_limits<Integer>;
    if (std::cmp_less(range.min, Limits::min())) range.min = Limits::min();
    if (std::cmp_greater(range.max, Limits::max())) {
      range.max = static_cast<std::int64_t>(Limits::max());
    }
    auto wide = static_cast<std::int64_t>(out);
    value(key, wide, doc, range);
    out = static_cast<Integer>(wide);
  }
  /// Milliseconds; the key ends in `_ms`.
  void value(std::string_view key, std::chrono::milliseconds& out, std::string_view doc,
             Range range = {0, 86'400'000}) {
    std::int64_t count = out.count();
    value(key, count, doc, range);
    out = std::chrono::milliseconds(count);
  }

  /// An array of tables, `[[wsm.feeds]]`: one section an entry, empty if there is none.
  std::vector<ConfigSection> tables(std::string_view key, std::string_view doc);

  /// `<file>:<line>: <section>.<key>: ` in front of a complaint of the caller's own, added to what
  /// finish() reports.
  void complain(std::string_view key, std::string_view what);

 private:
  friend class Config;
  ConfigSection(Config::Impl& impl, Config::Table& table) : impl_(&impl), table_(&table) {}
  Config::Impl* impl_;
  Config::Table* table_;
};

}  // namespace virtufin
