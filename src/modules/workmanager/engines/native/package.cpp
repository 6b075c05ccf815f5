#include "modules/workmanager/engines/native/package.h"

#include <elf.h>
#include <simdjson.h>
#include <zip.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <optional>
#include <pugixml.hpp>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::workmanager::native {
namespace {

constexpr std::size_t kListed = 40;  // entries named in an error

#if defined(__x86_64__)
constexpr std::uint16_t kMachine = EM_X86_64;
constexpr std::string_view kRid = "linux-x64";
#elif defined(__aarch64__)
constexpr std::uint16_t kMachine = EM_AARCH64;
constexpr std::string_view kRid = "linux-arm64";
#else
#error "native workers are defined for x86-64 and arm64"
#endif

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_X86_64: return "linux-x64";
    case EM_AARCH64: return "linux-arm64";
    case EM_386: return "32-bit x86";
    case EM_ARM: return "32-bit ARM";
    case EM_RISCV: return "RISC-V";
    default: return fmt::format("ELF machine {}", machine);
  }
}

bool is_elf(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}
bool is_zip(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "PK\x03\x04", 4) == 0;
}

/// Whether all that the loader will map is there: it maps without looking, and touching what lies
/// behind the end of a file that was cut off ends the process.
absl::Status check_segments(std::span<const std::uint8_t> bytes, const Elf64_Ehdr& header,
                            std::string_view name) {
  const std::uint64_t size = bytes.size();
  const std::uint64_t table = std::uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phoff > size ||
      table > size - header.e_phoff) {
    return invalid_argument("{} is cut off or damaged: its program headers are not in the file",
                            name);
  }
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset) {
      return invalid_argument(
          "{} is cut off: segment {} ends at byte {}, the file has {}; build or send it again",
          name, i, segment.p_offset + segment.p_filesz, size);
    }
  }
  return absl::OkStatus();
}

/// A shared library for this machine; what the loader itself would say less clearly.
absl::Status check_elf(std::span<const std::uint8_t> bytes, std::string_view name) {
  if (!is_elf(bytes) || bytes.size() < sizeof(Elf64_Ehdr)) {
    return invalid_argument("{} is not an ELF shared library ({} bytes)", name, bytes.size());
  }
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.e_machine != kMachine || header.e_ident[EI_CLASS] != ELFCLASS64) {
    return failed_precondition("{} is built for {}, this host is {}; build it for {}", name,
                               machine_name(header.e_machine), kRid, kRid);
  }
  if (header.e_type != ET_DYN) {
    return invalid_argument("{} is no shared library (ELF type {}); link it with -shared", name,
                            header.e_type);
  }
  return check_segments(bytes, header, name);
}

bool valid_library_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.find("..") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
         });
}

bool valid_symbol(std::string_view name) {
  return !name.empty() && name.size() <= 128 &&
         std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

/// What a nuspec or manifest says.
struct Manifest {
  std::string library;
  std::string abi_version;
  std::string entry_point = "Process";
  std::string free_result = "FreeResult";
};

absl::Status check(const Manifest& manifest, std::string_view file) {
  if (manifest.abi_version != "1") {
    return invalid_argument("{} asks for native ABI version '{}'; this host speaks version 1", file,
                            printable(manifest.abi_version));
  }
  if (!valid_library_name(manifest.library)) {
    return invalid_argument(
        "{} names the library '{}'; a name is 1 to 128 characters of [A-Za-z0-9_.-] without '..'",
        file, printable(manifest.library));
  }
  for (const auto& symbol : {manifest.entry_point, manifest.free_result}) {
    if (!valid_symbol(symbol)) {
      return invalid_argument("{} names the function '{}', which is no C identifier", file,
                              printable(symbol));
    }
  }
  return absl::OkStatus();
}

std::string_view local_name(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  const auto colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

pugi::xml_node child(const pugi::xml_node& parent, std::string_view name) {
  for (const auto& node : parent.children()) {
    if (local_name(node) == name) return node;
  }
  return {};
}

absl::StatusOr<Manifest> read_nuspec(std::span<const std::uint8_t> text, std::string_view file) {
  pugi::xml_document document;
  const auto parsed = document.load_buffer(text.data(), text.size());
  if (!parsed) {
    return invalid_argument("{} is not XML: {} at byte {}", file, parsed.description(),
                            parsed.offset);
  }
  const auto metadata = child(child(document, "package"), "metadata");
  if (!metadata) return invalid_argument("{} has no <package><metadata>", file);
  const auto value = [&](std::string_view name, std::string_view fallback) {
    const auto node = child(metadata, name);
    return std::string(node ? std::string_view(node.text().get()) : fallback);
  };
  Manifest manifest;
  manifest.abi_version = value("virtufinAbiVersion", "");
  if (manifest.abi_version.empty()) {
    return invalid_argument("{} has no <virtufinAbiVersion> in its metadata; it must say 1", file);
  }
  manifest.library = value("virtufinLibrary", value("id", ""));
  manifest.entry_point = value("virtufinEntryPoint", "Process");
  manifest.free_result = value("virtufinFreeResult", "FreeResult");
  VIRTUFIN_RETURN_IF_ERROR(check(manifest, file));
  return manifest;
}

absl::StatusOr<Manifest> read_json(std::span<const std::uint8_t> text, std::string_view file) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (const auto error = parser.parse(text.data(), text.size()).get_object().get(root)) {
    return invalid_argument("{} is not a JSON object: {}", file, simdjson::error_message(error));
  }
  Manifest manifest;
  const auto string = [&](std::string_view name, std::string& out) {
    std::string_view value;
    if (!root[name].get_string().get(value)) out = value;
  };
  string("library", manifest.library);
  string("entry_point", manifest.entry_point);
  string("free_result", manifest.free_result);
  string("abi_version", manifest.abi_version);
  std::int64_t number = 0;
  if (!root["abi_version"].get_int64().get(number)) manifest.abi_version = std::to_string(number);
  VIRTUFIN_RETURN_IF_ERROR(check(manifest, file));
  return manifest;
}

/// A zip in memory, read only. Keeps the names of its entries.
class Zip {
 public:
  static absl::StatusOr<Zip> open(std::span<const std::uint8_t> bytes, const CodeLimits& limits) {
    zip_error_t error;
    zip_error_init(&error);
    Zip zip;
    zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
    if (source != nullptr) {
      zip.handle_.reset(zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error));
      if (zip.handle_ == nullptr) zip_source_free(source);
    }
    if (zip.handle_ == nullptr) {
      auto status =
          invalid_argument("the package is not a sound zip: {}", zip_error_strerror(&error));
      zip_error_fini(&error);
      return status;
    }
    zip_error_fini(&error);
    const auto entries = zip_get_num_entries(zip.handle_.get(), 0);
    if (entries > limits.max_package_entries) {
      return invalid_argument("the package has {} entries, the limit is {} (max_package_entries)",
                              entries, limits.max_package_entries);
    }
    for (zip_int64_t i = 0; i < entries; ++i) {
      const char* name =
          zip_get_name(zip.handle_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
      const std::string_view text = name != nullptr ? name : "";
      if (text.empty() || text.front() == '/' || text.find('\\') != text.npos ||
          ("/" + std::string(text) + "/").find("/../") != std::string::npos) {
        return invalid_argument("the package has an entry named '{}', which leaves its folder",
                                printable(text));
      }
      zip.names_.emplace_back(text);
    }
    return zip;
  }

  const std::vector<std::string>& names() const { return names_; }

  std::optional<std::size_t> find(std::string_view name) const {
    const auto at = std::find(names_.begin(), names_.end(), name);
    if (at == names_.end()) return {};
    return static_cast<std::size_t>(at - names_.begin());
  }

  /// At most `limit` bytes, whatever size the entry claims.
  absl::StatusOr<std::vector<std::uint8_t>> read(std::size_t index, std::int64_t limit,
                                                 std::string_view limit_key) const {
    const std::string& name = names_[index];
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(handle_.get(), index, 0, &stat) != 0 || (stat.valid & ZIP_STAT_SIZE) == 0) {
      return invalid_argument("'{}' in the package has no size", printable(name));
    }
    const auto bound = static_cast<std::uint64_t>(limit);
    if (stat.size > bound) {
      return invalid_argument("'{}' in the package is {} bytes, the limit is {} ({})",
                              printable(name), stat.size, limit, limit_key);
    }
    const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(
        zip_fopen_index(handle_.get(), index, 0), &zip_fclose);
    if (file == nullptr) {
      return invalid_argument("'{}' in the package does not open: {}", printable(name),
                              zip_strerror(handle_.get()));
    }
    // In steps, so that memory follows what is really there and not what was claimed.
    std::vector<std::uint8_t> out;
    constexpr std::size_t kStep = 256 << 10;
    for (;;) {
      const std::size_t have = out.size();
      out.resize(have + std::min<std::size_t>(kStep, bound + 1 - have));
      const auto got = zip_fread(file.get(), out.data() + have, out.size() - have);
      if (got < 0) {
        return invalid_argument("'{}' in the package does not unpack: {}", printable(name),
                                zip_file_strerror(file.get()));
      }
      out.resize(have + static_cast<std::size_t>(got));
      if (out.size() > bound) {
        return invalid_argument("'{}' in the package unpacks to more than {} bytes ({})",
                                printable(name), limit, limit_key);
      }
      if (got == 0) return out;
    }
  }

  /// What is inside, for an error.
  std::string contents() const {
    std::string out;
    for (std::size_t i = 0; i < names_.size() && i < kListed; ++i) {
      out += (i > 0 ? ", " : "") + printable(names_[i]);
    }
    if (names_.size() > kListed) out += fmt::format(" and {} more", names_.size() - kListed);
    return out;
  }

 private:
  struct Discard {
    void operator()(zip_t* zip) const { zip_discard(zip); }
  };
  std::unique_ptr<zip_t, Discard> handle_;
  std::vector<std::string> names_;
};

/// The manifest at the root: the nuspec, else manifest.json.
absl::StatusOr<Manifest> find_manifest(const Zip& zip, const CodeLimits& limits) {
  std::optional<std::size_t> nuspec;
  for (std::size_t i = 0; i < zip.names().size(); ++i) {
    const std::string_view name = zip.names()[i];
    if (!name.ends_with(".nuspec") || name.find('/') != name.npos) continue;
    if (nuspec) {
      return invalid_argument("the package has two nuspecs, {} and {}",
                              printable(zip.names()[*nuspec]), printable(name));
    }
    nuspec = i;
  }
  const auto json = zip.find("manifest.json");
  if (!nuspec && !json) {
    return invalid_argument(
        "the package has neither <id>.nuspec nor manifest.json at its root; it holds: {}",
        zip.contents());
  }
  const std::size_t index = nuspec ? *nuspec : *json;
  auto text = zip.read(index, limits.max_manifest_bytes, "max_manifest_bytes");
  if (!text.ok()) return text.status();
  const std::string file = printable(zip.names()[index]);
  return nuspec ? read_nuspec(*text, file) : read_json(*text, file);
}

absl::StatusOr<NativeLibrary> unpack_zip(std::span<const std::uint8_t> code,
                                         const CodeLimits& limits) {
  auto zip = Zip::open(code, limits);
  if (!zip.ok()) return zip.status();
  auto manifest = find_manifest(*zip, limits);
  if (!manifest.ok()) return manifest.status();

  // The nuspec's place first; the older form also had the library at the root.
  const std::string& library = manifest->library;
  const std::string path = fmt::format("runtimes/{}/native/lib{}.so", kRid, library);
  std::optional<std::size_t> index;
  for (const auto& candidate : {path, fmt::format("runtimes/{}/native/{}", kRid, library), library,
                                "lib" + library + ".so"}) {
    if ((index = zip->find(candidate))) break;
  }
  if (!index) {
    return failed_precondition("the package has nothing for {} (no {}); it holds: {}", kRid, path,
                               zip->contents());
  }
  auto bytes = zip->read(*index, limits.max_library_bytes, "max_library_bytes");
  if (!bytes.ok()) return bytes.status();
  const auto status = check_elf(*bytes, printable(zip->names()[*index]));
  if (status.code() == absl::StatusCode::kFailedPrecondition) {
    return failed_precondition("{}; the package holds: {}", message(status), zip->contents());
  }
  VIRTUFIN_RETURN_IF_ERROR(status);
  return NativeLibrary{std::move(*bytes), std::move(manifest->entry_point),
                       std::move(manifest->free_result)};
}

}  // namespace

std::string_view host_rid() { return kRid; }

absl::StatusOr<NativeLibrary> unpack(std::span<const std::uint8_t> code, const CodeLimits& limits) {
  if (code.empty()) return invalid_argument("the code is empty; send a .so or .nupkg as content");
  if (code.size() > static_cast<std::size_t>(limits.max_code_bytes)) {
    return invalid_argument("the code is {} bytes, the limit is {} (max_code_bytes)", code.size(),
                            limits.max_code_bytes);
  }
  if (is_zip(code)) return unpack_zip(code, limits);
  if (!is_elf(code)) {
    return invalid_argument(
        "the code is neither an ELF shared library (.so) nor a zip package (.nupkg); it begins "
        "with '{}'",
        printable(
            {reinterpret_cast<const char*>(code.data()), std::min<std::size_t>(code.size(), 8)}));
  }
  VIRTUFIN_RETURN_IF_ERROR(check_elf(code, "the library"));
  return NativeLibrary{.bytes = {code.begin(), code.end()}};
}

}  // namespace virtufin::workmanager::native
