#include "core/config.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/config_impl.h"
#include "core/errors.h"
#include "core/log.h"

namespace virtufin {
namespace {

constexpr std::string_view kPrefix = "VIRTUFIN_";
constexpr std::string_view kSeparator = "__";

/// `gateway.http_port` for `VIRTUFIN_GATEWAY__HTTP_PORT`; empty for a name that is not a key's.
std::string path_of_variable(std::string_view name) {
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  if (name.find(kSeparator) == std::string_view::npos) return {};
  std::string path;
  for (std::size_t at = 0; at < name.size();) {
    if (name.substr(at).starts_with(kSeparator)) {
      path += '.';
      at += kSeparator.size();
    } else {
      path +=
          static_cast<char>(name[at] >= 'A' && name[at] <= 'Z' ? name[at] - 'A' + 'a' : name[at]);
      ++at;
    }
  }
  return path;
}

std::string variable_of_path(std::string_view path) {
  std::string name(kPrefix);
  for (const char c : path) {
    if (c == '.') {
      name += kSeparator;
    } else {
      name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
  }
  return name;
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
    }
    std::swap(before, row);
    std::swap(row, next);
  }
  return row[b.size()];
}

/// `a.b` for `a[3].b`: entries of an array of tables all have the same keys.
std::string without_indices(std::string_view path) {
  std::string out;
  bool inside = false;
  for (const char c : path) {
    if (c == '[') inside = true;
    if (!inside) out += c;
    if (c == ']') inside = false;
  }
  return out;
}

}  // namespace

std::string_view nearest_name(std::string_view given, const std::vector<std::string>& known) {
  // A key is short: nothing longer is compared, which bounds the work for any input.
  constexpr std::size_t kMaxCompared = 128;
  if (given.size() > kMaxCompared) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, given.size() / 3) + 1;
  for (const std::string& name : known) {
    const std::size_t distance = edit_distance(given, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

std::string Config::Table::path_of(std::string_view key) const {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

const Config::Table::Key* Config::Table::find_key(std::string_view key) const {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [key](const Key& known) { return known.name == key; });
  return found == keys.end() ? nullptr : &*found;
}

Config::Table* Config::Table::find_table(std::string_view key) const {
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [key](const auto& table) { return table->name == key; });
  return found == tables.end() ? nullptr : found->get();
}

Config::Table& Config::Table::add_table(std::string_view key) {
  auto table = std::make_unique<Table>();
  table->name = key;
  table->path = path_of(key);
  return *tables.emplace_back(std::move(table));
}

Config::Config(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Config::Config(Config&&) noexcept = default;
Config& Config::operator=(Config&&) noexcept = default;
Config::~Config() = default;

absl::StatusOr<Config> Config::load(const std::string& path, Environment environment) {
  if (path.empty()) return parse("", "", std::move(environment));
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return not_found("cannot read config file {}: {}", printable(path), std::strerror(errno));
  }
  std::ostringstream text;
  // An empty file writes nothing, which the stream calls a failure.
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (file.bad() || text.fail()) {
    return not_found("cannot read config file {}: {}", printable(path), std::strerror(errno));
  }
  return parse(text.view(), path, std::move(environment));
}

absl::StatusOr<Config> Config::parse(std::string_view toml, const std::string& name,
                                     Environment environment) {
  auto impl = std::make_unique<Impl>();
  impl->file = printable(name);
  try {
    impl->document = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    const auto& at = error.source().begin;
    return invalid_argument("{}:{}:{}: {}", impl->file, at.line, at.column,
                            printable(error.description()));
  }
  impl->root.given = &impl->document;
  for (auto& [variable, value] : environment) {
    std::string path = path_of_variable(variable);
    if (!path.empty()) {
      impl->environment.emplace(std::move(path), Impl::Variable{variable, std::move(value)});
    }
  }
  return Config(std::move(impl));
}

Config::Environment Config::process_environment() {
  Environment environment;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with(kPrefix)) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

ConfigSection Config::section(std::string_view name) {
  Table* table = &impl_->root;
  while (!name.empty()) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view part = name.substr(0, dot);
    name.remove_prefix(std::min(dot + 1, name.size()));
    Table* child = table->find_table(part);
    if (!child) {
      child = &table->add_table(part);
      if (const toml::node* node = table->given ? table->given->get(part) : nullptr) {
        child->given = node->as_table();
        if (!child->given) {
          impl_->complain(*table, part, fmt::format("must be a table: [{}]", child->path));
        }
      }
    }
    table = child;
  }
  return {*impl_, *table};
}

absl::Status Config::finish() const {
  std::vector<std::string> all = impl_->complaints;
  impl_->find_unknown(impl_->root, all);
  impl_->find_unknown_variables(all);
  if (all.empty()) return absl::OkStatus();
  return invalid_argument("{}", fmt::join(all, "\n"));
}

std::string Config::Impl::location(const toml::source_region& source) const {
  return fmt::format("{}:{}", file, source.begin.line);
}

Config::Impl::Variable* Config::Impl::variable(const Table& table, std::string_view key) {
  const auto found = environment.find(table.path_of(key));
  return found == environment.end() ? nullptr : &found->second;
}

std::string Config::Impl::origin(const Table& table, std::string_view key) {
  if (const Variable* set = variable(table, key)) return set->name;
  if (table.given) {
    if (const auto found = table.given->find(key); found != table.given->end()) {
      return location(found->first.source());
    }
  }
  return "default";
}

void Config::Impl::complain(const Table& table, std::string_view key, std::string_view what) {
  const std::string from = origin(table, key);
  const std::string prefix = from == "default" ? "" : from + ": ";
  complaints.push_back(fmt::format("{}{}: {}", prefix, table.path_of(key), what));
}

void Config::Impl::declare(Table& table, Table::Key key) {
  const auto found = std::find_if(table.keys.begin(), table.keys.end(),
                                  [&key](const auto& known) { return known.name == key.name; });
  if (found == table.keys.end()) {
    table.keys.push_back(std::move(key));
  } else {
    *found = std::move(key);
  }
}

namespace {

void collect_paths(const Config::Table& table, std::vector<std::string>& out) {
  for (const auto& key : table.keys) out.push_back(without_indices(table.path_of(key.name)));
  for (const auto& child : table.tables) {
    out.push_back(without_indices(child->path));
    collect_paths(*child, out);
  }
  if (!table.entries.empty()) collect_paths(*table.entries.front(), out);
}

}  // namespace

void Config::Impl::find_unknown(const Table& table, std::vector<std::string>& out) const {
  for (const auto& entry : table.entries) find_unknown(*entry, out);
  for (const auto& child : table.tables) find_unknown(*child, out);
  if (!table.given || table.is_array) return;
  for (const auto& [key, node] : *table.given) {
    if (table.find_key(key.str()) || table.find_table(key.str())) continue;
    std::vector<std::string> siblings, all;
    for (const auto& known : table.keys) siblings.push_back(known.name);
    for (const auto& known : table.tables) siblings.push_back(known->name);
    std::string hint;
    if (const std::string_view near = nearest_name(key.str(), siblings); !near.empty()) {
      hint = fmt::format("did you mean {}?", table.path_of(near));
    } else {
      collect_paths(root, all);
      // The right key in the wrong section, else the whole path misspelt.
      const std::string ending = fmt::format(".{}", key.str());
      const auto same = std::find_if(all.begin(), all.end(), [&ending](const std::string& path) {
        return path.ends_with(ending);
      });
      const std::string_view far =
          same != all.end() ? std::string_view(*same)
                            : nearest_name(without_indices(table.path_of(key.str())), all);
      if (!far.empty()) {
        hint = fmt::format("did you mean {}?", far);
      } else {
        hint = siblings.empty() ? "nothing is known here"
                                : fmt::format("known here: {}", fmt::join(siblings, ", "));
      }
    }
    out.push_back(fmt::format("{}: {}: unknown {}; {}", location(key.source()),
                              printable(table.path_of(key.str())),
                              node.is_table() ? "section" : "key", hint));
  }
}

void Config::Impl::find_unknown_variables(std::vector<std::string>& out) const {
  std::vector<std::string> known;
  for (const auto& [path, set] : environment) {
    if (set.read) continue;
    if (known.empty()) collect_paths(root, known);
    const std::string_view near = nearest_name(path, known);
    out.push_back(fmt::format(
        "{}: {}: unknown key{}", printable(set.name), printable(path),
        near.empty() ? std::string("; unset it")
                     : fmt::format("; did you mean {}, {}?", near, variable_of_path(near))));
  }
}

}  // namespace virtufin
