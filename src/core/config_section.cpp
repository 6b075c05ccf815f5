#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include "core/config_impl.h"
#include "core/errors.h"
#include "core/log.h"

/// Reading single keys: from the environment, else from the file, else what it was.
namespace virtufin {
namespace {

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::string in_range(ConfigSection::Range range) {
  using Limits = std::numeric_limits<std::int64_t>;
  if (range.min == Limits::min()) return fmt::format("at most {}", range.max);
  if (range.max == Limits::max()) return fmt::format("at least {}", range.min);
  return fmt::format("between {} and {}", range.min, range.max);
}

std::string list_text(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const std::string& value : values) {
    if (text.size() > 1) text += ", ";
    text += toml_text::quote(value);
  }
  return text + "]";
}

std::string map_text(const std::map<std::string, std::string>& values, bool hidden) {
  std::string text = "{";
  for (const auto& [name, value] : values) {
    text += text.size() > 1 ? ", " : " ";
    text += fmt::format("{} = {}", toml_text::key(name), toml_text::quote(hidden ? "***" : value));
  }
  return text + (values.empty() ? "}" : " }");
}

/// One key on its way from its source to the caller's variable.
class Reading {
 public:
  Reading(Config::Impl& impl, Config::Table& table, std::string_view key)
      : impl_(impl), table_(table), key_(key), variable_(impl.variable(table, key)) {
    if (variable_) variable_->read = true;
    if (table.given) node_ = table.given->get(key);
  }

  const std::string* variable() const { return variable_ ? &variable_->value : nullptr; }
  /// Nothing if the environment speaks.
  const toml::node* node() const { return variable_ ? nullptr : node_; }

  void complain(std::string_view what) {
    impl_.complain(table_, key_, what);
    refused_ = true;
  }
  /// `apart`: its value is from the key beside it.
  void declare(std::string_view doc, std::string text, bool apart = false) {
    impl_.declare(table_, {std::string(key_), std::string(doc), std::move(text),
                           refused_ ? "default" : impl_.origin(table_, key_), apart});
  }

 private:
  Config::Impl& impl_;
  Config::Table& table_;
  std::string_view key_;
  Config::Impl::Variable* variable_;
  const toml::node* node_ = nullptr;
  bool refused_ = false;
};

/// The text of a string key; nothing if it is not given or was complained about.
std::optional<std::string> read_text(Reading& reading) {
  std::optional<std::string> text;
  if (const std::string* set = reading.variable()) {
    text = *set;
  } else if (const toml::node* node = reading.node()) {
    text = node->value_exact<std::string>();
    if (!text) reading.complain("must be a string, in quotation marks");
  }
  // TOML is UTF-8 throughout; the environment need not be.
  if (text && !simdjson::validate_utf8(text->data(), text->size())) {
    reading.complain("must be UTF-8");
    return {};
  }
  return text;
}

/// The strings of a table; nothing if it is not given or was complained about.
std::optional<std::map<std::string, std::string>> read_table(Reading& reading) {
  const toml::node* node = reading.node();
  if (!node) return {};
  const toml::table* table = node->as_table();
  if (!table) {
    reading.complain("must be a table of strings: { name = \"value\" }");
    return {};
  }
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : *table) {
    if (const auto text = value.value_exact<std::string>()) {
      values.emplace(name.str(), *text);
    } else {
      reading.complain(
          fmt::format("{} must be a string, in quotation marks", printable(name.str())));
      return {};
    }
  }
  return values;
}

}  // namespace

void ConfigSection::value(std::string_view key, bool& out, std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (const std::string* set = reading.variable()) {
    if (*set == "true" || *set == "false") {
      out = *set == "true";
    } else {
      reading.complain(fmt::format("must be true or false, not '{}'", printable(*set)));
    }
  } else if (const toml::node* node = reading.node()) {
    if (const auto given = node->value_exact<bool>()) {
      out = *given;
    } else {
      reading.complain("must be true or false");
    }
  }
  reading.declare(doc, out ? "true" : "false");
}

void ConfigSection::value(std::string_view key, std::int64_t& out, std::string_view doc,
                          Range range) {
  Reading reading(*impl_, *table_, key);
  std::optional<std::int64_t> given;
  if (const std::string* set = reading.variable()) {
    given = to_number<std::int64_t>(*set);
    if (!given) reading.complain(fmt::format("must be an integer, not '{}'", printable(*set)));
  } else if (const toml::node* node = reading.node()) {
    given = node->value_exact<std::int64_t>();
    if (!given) reading.complain("must be an integer");
  }
  if (given && (*given < range.min || *given > range.max)) {
    reading.complain(fmt::format("must be {}, not {}", in_range(range), *given));
  } else if (given) {
    out = *given;
  }
  reading.declare(doc, std::to_string(out));
}

void ConfigSection::value(std::string_view key, double& out, std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  std::optional<double> given;
  if (const std::string* set = reading.variable()) {
    given = to_number<double>(*set);
    if (!given) reading.complain(fmt::format("must be a number, not '{}'", printable(*set)));
  } else if (const toml::node* node = reading.node()) {
    if (node->is_number()) given = node->value<double>();
    if (!given) reading.complain("must be a number");
  }
  if (given && !std::isfinite(*given)) {
    reading.complain("must be a finite number");
  } else if (given) {
    out = *given;
  }
  reading.declare(doc, toml_text::number(out));
}

void ConfigSection::value(std::string_view key, std::string& out, std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (auto given = read_text(reading)) out = std::move(*given);
  reading.declare(doc, toml_text::quote(out));
}

void ConfigSection::choice(std::string_view key, std::string& out,
                           const std::vector<std::string>& words, std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (auto given = read_text(reading)) {
    if (std::find(words.begin(), words.end(), *given) == words.end()) {
      const std::string_view near = nearest_name(*given, words);
      reading.complain(fmt::format("must be one of {}, not '{}'{}", fmt::join(words, ", "),
                                   printable(*given),
                                   near.empty() ? "" : fmt::format("; did you mean {}?", near)));
    } else {
      out = std::move(*given);
    }
  }
  reading.declare(
      fmt::format("{}{} One of {}.", doc, doc.ends_with('.') ? "" : ".", fmt::join(words, ", ")),
      toml_text::quote(out));
}

void ConfigSection::value(std::string_view key, std::vector<std::string>& out,
                          std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (reading.variable()) {
    if (const auto given = read_text(reading)) {
      out.clear();
      for (std::string_view rest = trim(*given); !rest.empty();) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        out.emplace_back(trim(rest.substr(0, comma)));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    }
  } else if (const toml::node* node = reading.node()) {
    std::vector<std::string> values;
    const toml::array* array = node->as_array();
    bool strings = array != nullptr;
    for (std::size_t i = 0; strings && i < array->size(); ++i) {
      const auto text = array->get(i)->value_exact<std::string>();
      strings = text.has_value();
      if (strings) values.push_back(*text);
    }
    if (strings) {
      out = std::move(values);
    } else {
      reading.complain("must be a list of strings: [\"a\", \"b\"]");
    }
  }
  reading.declare(doc, list_text(out));
}

void ConfigSection::value(std::string_view key, std::map<std::string, std::string>& out,
                          std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (reading.variable()) {
    reading.complain("is a table, which the environment cannot set; set it in the file");
  } else if (auto given = read_table(reading)) {
    out = std::move(*given);
  }
  reading.declare(doc, map_text(out, false));
}

void ConfigSection::secret(std::string_view key, std::string& out, std::string_view doc) {
  const std::string file_key = fmt::format("{}_file", key);
  std::string path;
  value(file_key, path,
        fmt::format("A file to read {} from; its last newline does not count.", key));

  Reading reading(*impl_, *table_, key);
  const auto given = read_text(reading);
  if (given) out = *given;
  if (!path.empty()) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (given && !given->empty()) {
      reading.complain(fmt::format("is given, and so is {}; give one of them", file_key));
    } else if (!file.is_open() || file.bad()) {
      complain(file_key, fmt::format("cannot read {}", printable(path)));
    } else {
      if (text.ends_with('\n')) text.pop_back();
      if (text.ends_with('\r')) text.pop_back();
      out = std::move(text);
    }
  }
  reading.declare(doc, toml_text::quote(out.empty() ? "" : "***"), !path.empty());
}

void ConfigSection::secrets(std::string_view key, std::map<std::string, std::string>& out,
                            std::string_view doc) {
  Reading reading(*impl_, *table_, key);
  if (reading.variable()) {
    reading.complain("is a table; set its entries, each with a name of its own");
  } else if (auto given = read_table(reading)) {
    out = std::move(*given);
  }
  const std::string prefix = table_->path_of(key) + ".";
  for (auto at = impl_->environment.lower_bound(prefix);
       at != impl_->environment.end() && at->first.starts_with(prefix); ++at) {
    at->second.read = true;
    out[at->first.substr(prefix.size())] = at->second.value;
  }
  reading.declare(doc, map_text(out, true));
}

std::vector<ConfigSection> ConfigSection::tables(std::string_view key, std::string_view doc) {
  Config::Table* table = table_->find_table(key);
  if (!table) {
    table = &table_->add_table(key);
    table->is_array = true;
    table->doc = doc;
    const toml::node* node = table_->given ? table_->given->get(key) : nullptr;
    const toml::array* array = node ? node->as_array() : nullptr;
    bool is_tables = array != nullptr;
    for (std::size_t i = 0; is_tables && i < array->size(); ++i) {
      is_tables = array->get(i)->is_table();
    }
    if (node && !is_tables) {
      complain(key, fmt::format("must be an array of tables: [[{}]]", table->path));
    } else if (node) {
      for (std::size_t i = 0; i < array->size(); ++i) {
        auto entry = std::make_unique<Config::Table>();
        entry->name = table->name;
        entry->path = fmt::format("{}[{}]", table->path, i);
        entry->given = array->get(i)->as_table();
        table->entries.push_back(std::move(entry));
      }
    }
  }
  std::vector<ConfigSection> sections;
  for (const auto& entry : table->entries) sections.push_back({*impl_, *entry});
  return sections;
}

void ConfigSection::complain(std::string_view key, std::string_view what) {
  impl_->complain(*table_, key, what);
}

}  // namespace virtufin
