#include <algorithm>
#include <cctype>

#include "core/config_impl.h"
#include "core/errors.h"

/// Writing the configuration in force, as TOML.
namespace virtufin {
namespace toml_text {

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string key(std::string_view name) {
  const bool bare = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (std::isalnum(c) != 0 && c < 0x80) || c == '_' || c == '-';
  });
  return bare ? std::string(name) : quote(name);
}

std::string number(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

}  // namespace toml_text

namespace {

constexpr std::size_t kWidth = 100;

void write_comment(std::string_view text, std::string& out) {
  std::string line = "#";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (line.size() > 1 && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line = "#";
    }
    if (!word.empty()) line += fmt::format(" {}", word);
    at = end + 1;
  }
  if (line.size() > 1) out += line + "\n";
}

/// `header`: how TOML calls the table; entries of an array have no index there.
void write_table(const Config::Table& table, const std::string& header, bool entry,
                 std::string& out) {
  if (entry || !table.keys.empty()) {
    if (!header.empty())
      out += fmt::format("\n{0}{1}{2}\n", entry ? "[[" : "[", header, entry ? "]]" : "]");
    for (const auto& key : table.keys) {
      write_comment(key.doc, out);
      out += fmt::format("{}{} = {}  # {}\n", key.apart ? "# " : "", toml_text::key(key.name),
                         key.text, key.origin);
    }
  }
  for (const auto& child : table.tables) {
    const std::string path = header.empty()
                                 ? toml_text::key(child->name)
                                 : fmt::format("{}.{}", header, toml_text::key(child->name));
    if (!child->is_array) {
      write_table(*child, path, false, out);
      continue;
    }
    out += "\n";
    write_comment(child->doc, out);
    if (child->entries.empty()) out += fmt::format("# [[{}]]: none given\n", path);
    for (const auto& each : child->entries) write_table(*each, path, true, out);
  }
}

}  // namespace

std::string Config::effective() const {
  std::string out;
  write_table(impl_->root, "", false, out);
  if (out.starts_with('\n')) out.erase(0, 1);
  return out;
}

}  // namespace virtufin
