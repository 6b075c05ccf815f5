#include "modules/gateway/service_spec.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::gateway {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxHost = 253;
constexpr std::size_t kMaxHosts = 64;
constexpr std::size_t kMaxServices = 1000;

bool valid_host(std::string_view host) {
  return !host.empty() && host.size() <= kMaxHost &&
         std::none_of(host.begin(), host.end(), [](unsigned char c) {
           return c <= ' ' || c >= 0x7f || c == '/' || c == '@' || c == ',';
         });
}

absl::StatusOr<std::string> text_of(dom::element value, std::string_view path) {
  std::string_view text;
  if (value.get(text)) return invalid_argument("{}: must be a string", path);
  return std::string(text);
}

absl::Status read_host(const dom::object& object, const std::string& path,
                       std::vector<rpc::Endpoint>& hosts) {
  std::string_view host;
  std::uint64_t port = 0;
  if (object["host"].get(host) || !valid_host(host)) {
    return invalid_argument("{}.host: must be a host name or an address", path);
  }
  if (object["port"].get(port) || port == 0 || port > 65'535) {
    return invalid_argument("{}.port: must be an integer between 1 and 65535", path);
  }
  if (hosts.size() == kMaxHosts) {
    return invalid_argument("{}: more than {} hosts", path, kMaxHosts);
  }
  hosts.push_back({std::string(host), static_cast<std::uint16_t>(port)});
  return absl::OkStatus();
}

class Reader {
 public:
  absl::StatusOr<ServicesFile> read(const dom::element& root) {
    dom::object object;
    dom::array services;
    if (root.get(object) || object["services"].get(services)) {
      return invalid_argument("must be an object with an array `services`");
    }
    ignore(object, "", {"services"});
    for (const dom::element element : services) {
      if (file_.services.size() == kMaxServices) {
        return invalid_argument("more than {} services", kMaxServices);
      }
      VIRTUFIN_RETURN_IF_ERROR(service(element));
    }
    return std::move(file_);
  }

 private:
  absl::Status service(const dom::element& element) {
    std::string path = fmt::format("services[{}]", file_.services.size());
    dom::object object;
    if (element.get(object)) return invalid_argument("{}: must be an object", path);
    ServiceSpec spec;
    std::string_view name;
    if (object["name"].get(name) || !valid_service_name(name)) {
      return invalid_argument("{}.name: must be 1 to {} characters of [A-Za-z0-9._-]", path,
                              kMaxName);
    }
    spec.name = name;
    path = spec.name;
    if (!names_.insert(spec.name).second) return invalid_argument("{}: stands twice", path);
    if (dom::element protocol; !object["protocol"].get(protocol)) {
      const auto text = text_of(protocol, path + ".protocol");
      if (!text.ok()) return text.status();
      if (*text != "grpc") {
        return invalid_argument("{}.protocol: is {}, and must be grpc", path, printable(*text));
      }
    }
    if (dom::element grpc; !object["grpc"].get(grpc)) {
      VIRTUFIN_RETURN_IF_ERROR(read_grpc(grpc, path + ".grpc", spec.hosts));
    }
    VIRTUFIN_RETURN_IF_ERROR(read_name(object, "pubsub", "pubsubName", path, spec.pubsub_name));
    VIRTUFIN_RETURN_IF_ERROR(read_name(object, "state", "storeName", path, spec.store_name));
    ignore(object, path, {"name", "protocol", "grpc", "pubsub", "state"});
    file_.services.push_back(std::move(spec));
    return absl::OkStatus();
  }

  absl::Status read_grpc(const dom::element& element, const std::string& path,
                         std::vector<rpc::Endpoint>& hosts) {
    dom::object object;
    if (element.get(object)) return invalid_argument("{}: must be an object", path);
    dom::element found;
    if (!object["host"].get(found) || !object["port"].get(found)) {
      VIRTUFIN_RETURN_IF_ERROR(read_host(object, path, hosts));
    }
    if (!object["hosts"].get(found)) {
      dom::array list;
      if (found.get(list)) return invalid_argument("{}.hosts: must be an array", path);
      std::size_t index = 0;
      for (const dom::element entry : list) {
        const std::string place = fmt::format("{}.hosts[{}]", path, index++);
        dom::object host;
        if (entry.get(host)) return invalid_argument("{}: must be an object", place);
        // The first one is often given twice, as host and port and again in the list.
        std::vector<rpc::Endpoint> one;
        VIRTUFIN_RETURN_IF_ERROR(read_host(host, place, one));
        if (std::find(hosts.begin(), hosts.end(), one.front()) == hosts.end()) {
          VIRTUFIN_RETURN_IF_ERROR(read_host(host, place, hosts));
        }
        ignore(host, place, {"host", "port"});
      }
    }
    ignore(object, path, {"host", "port", "hosts"});
    return absl::OkStatus();
  }

  absl::Status read_name(const dom::object& object, std::string_view section,
                         std::string_view member, const std::string& path, std::string& out) {
    dom::element element;
    if (object[section].get(element)) return absl::OkStatus();
    const std::string place = fmt::format("{}.{}", path, section);
    dom::object inner;
    if (element.get(inner)) return invalid_argument("{}: must be an object", place);
    ignore(inner, place, {member});
    if (inner[member].get(element)) return absl::OkStatus();
    auto text = text_of(element, fmt::format("{}.{}", place, member));
    if (!text.ok()) return text.status();
    out = *std::move(text);
    return absl::OkStatus();
  }

  void ignore(const dom::object& object, const std::string& path,
              std::initializer_list<std::string_view> used) {
    for (const auto& [key, value] : object) {
      if (std::find(used.begin(), used.end(), key) != used.end()) continue;
      file_.ignored.push_back((path.empty() ? "" : path + ".") + printable(key));
    }
  }

  ServicesFile file_;
  std::set<std::string> names_;
};

}  // namespace

bool valid_service_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

absl::StatusOr<ServicesFile> parse_services(std::string_view json) {
  dom::parser parser;
  dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    return invalid_argument("is no JSON: {}", simdjson::error_message(error));
  }
  return Reader().read(root);
}

absl::StatusOr<rpc::Endpoint> parse_host(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = colon == std::string_view::npos ? text : text.substr(0, colon);
  const std::string_view digits =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    host = {};  // an IPv6 address without its brackets
  }
  std::uint16_t port = 0;
  const auto end = digits.data() + digits.size();
  const auto [read, error] = std::from_chars(digits.data(), end, port);
  if (!valid_host(host) || error != std::errc() || read != end || port == 0) {
    return invalid_argument("{} is no host:port", printable(text));
  }
  return rpc::Endpoint{std::string(host), port};
}

}  // namespace virtufin::gateway
