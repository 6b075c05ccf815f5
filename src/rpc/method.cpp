#include "rpc/method.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <thread>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/bytes.h"

namespace virtufin::rpc {
namespace {

constexpr std::size_t kSuggestions = 3;

std::string dotted(std::string_view full_name) {
  std::string name(full_name);
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

/// The shorter names of `package.Service/Method`: `Service/Method` and `Method`.
std::vector<std::string_view> short_names(std::string_view full_name) {
  std::vector<std::string_view> names;
  const std::size_t slash = full_name.rfind('/');
  if (slash == std::string_view::npos) return names;
  names.push_back(full_name.substr(slash + 1));
  const std::size_t dot = full_name.rfind('.', slash);
  if (dot != std::string_view::npos) names.push_back(full_name.substr(dot + 1));
  return names;
}

/// Levenshtein's distance, ASCII letters in any case.
std::size_t distance(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

struct MethodTable::Snapshot {
  StringMap<MethodPtr> by_full_name;
  StringMap<std::vector<MethodPtr>> by_short_name;
  std::vector<MethodPtr> sorted;

  explicit Snapshot(std::vector<MethodPtr> methods) : sorted(std::move(methods)) {
    for (const MethodPtr& method : sorted) {
      by_full_name.emplace(method->full_name(), method);
      for (std::string_view name : short_names(method->full_name())) {
        by_short_name[std::string(name)].push_back(method);
      }
    }
  }

  std::string nearest(std::string_view name) const {
    // A name is compared with the form of its own length: bare with bare, full with full.
    const std::size_t slash = name.rfind('/');
    const bool bare = slash == std::string_view::npos;
    const bool packaged = !bare && name.substr(0, slash).find('.') != std::string_view::npos;
    std::vector<std::pair<std::size_t, std::string_view>> ranked;
    for (const MethodPtr& method : sorted) {
      std::string_view form = method->full_name();
      if (!packaged) {
        const auto shorter = short_names(form);
        if (!shorter.empty()) form = bare ? shorter.front() : shorter.back();
      }
      ranked.emplace_back(distance(name, form), method->full_name());
    }
    const std::size_t count = std::min(kSuggestions, ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count),
                      ranked.end());
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) text += ", ";
      text += ranked[i].second;
    }
    return text;
  }
};

/// Keeps the snapshot that it sees alive as long as it lives.
class MethodTable::Reading {
 public:
  explicit Reading(const MethodTable& table) {
    for (;;) {
      const std::uint32_t epoch = table.epoch_.load();
      readers_ = &table.readers_[epoch & 1].count;
      readers_->fetch_add(1);
      if (table.epoch_.load() == epoch) break;
      readers_->fetch_sub(1);
    }
    snapshot_ = table.current_.load();
  }
  ~Reading() { readers_->fetch_sub(1, std::memory_order_release); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  const Snapshot* operator->() const { return snapshot_; }

 private:
  std::atomic<std::uint32_t>* readers_;
  const Snapshot* snapshot_;
};

MethodTable::MethodTable() : current_(new Snapshot({})) {}

MethodTable::~MethodTable() { delete current_.load(); }

template <class Change>
void MethodTable::change(Change&& change) {
  std::lock_guard lock(changes_);
  std::vector<MethodPtr> methods = current_.load()->sorted;
  change(methods);
  std::unique_ptr<const Snapshot> old(current_.exchange(new Snapshot(std::move(methods))));
  const std::uint32_t epoch = epoch_.fetch_add(1);
  while (readers_[epoch & 1].count.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  version_.fetch_add(1, std::memory_order_release);
}

void MethodTable::add(MethodPtr method) {
  change([&](std::vector<MethodPtr>& methods) {
    const auto at = std::lower_bound(
        methods.begin(), methods.end(), method->full_name(),
        [](const MethodPtr& row, std::string_view name) { return row->full_name() < name; });
    if (at != methods.end() && (*at)->full_name() == method->full_name()) {
      *at = std::move(method);
    } else {
      methods.insert(at, std::move(method));
    }
  });
}

void MethodTable::remove(std::string_view full_name) {
  change([&](std::vector<MethodPtr>& methods) {
    std::erase_if(methods, [&](const MethodPtr& row) { return row->full_name() == full_name; });
  });
}

MethodPtr MethodTable::find_exact(std::string_view full_name) const {
  const Reading snapshot(*this);
  const auto found = snapshot->by_full_name.find(full_name);
  return found == snapshot->by_full_name.end() ? nullptr : found->second;
}

absl::StatusOr<MethodPtr> MethodTable::find(std::string_view name) const {
  const Reading snapshot(*this);
  if (const auto found = snapshot->by_full_name.find(name); found != snapshot->by_full_name.end()) {
    return found->second;
  }
  if (const auto found = snapshot->by_short_name.find(name);
      found != snapshot->by_short_name.end()) {
    const std::vector<MethodPtr>& methods = found->second;
    if (methods.size() == 1) return methods.front();
    std::string names;
    for (const MethodPtr& method : methods) {
      if (!names.empty()) names += ", ";
      names += method->full_name();
    }
    return invalid_argument("method {} is ambiguous: name one of {}", name, names);
  }
  if (snapshot->sorted.empty()) {
    return not_found("no method {}: this process has none", printable(name));
  }
  // Beyond any real name the distance is not worth its quadratic price.
  constexpr std::size_t kLongestName = 256;
  if (name.size() > kLongestName) return not_found("no method {}", printable(name));
  return not_found("no method {}; nearest: {}", printable(name), snapshot->nearest(name));
}

std::vector<MethodPtr> MethodTable::list() const {
  const Reading snapshot(*this);
  return snapshot->sorted;
}

LocalMethod::LocalMethod(std::string_view full_name, const google::protobuf::Descriptor* request,
                         const google::protobuf::Descriptor* reply, bool server_streaming)
    : full_name_(full_name),
      descriptor_(
          google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(dotted(full_name))) {
  const auto refuse = [&](std::string_view why) {
    throw std::logic_error(fmt::format("method {}: {}", full_name, why));
  };
  if (descriptor_ == nullptr) refuse("the protos have no such method");
  if (descriptor_->input_type() != request) refuse("the request is another message");
  if (reply != nullptr && descriptor_->output_type() != reply) {
    refuse("the reply is another message");
  }
  if (descriptor_->client_streaming() || descriptor_->server_streaming() != server_streaming) {
    refuse("it streams otherwise");
  }
}

absl::Status LocalMethod::parse(const Bytes& bytes, google::protobuf::Message& request) const {
  const std::string_view content = bytes.view();
  if (content.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()) &&
      request.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
    return absl::OkStatus();
  }
  return invalid_argument("{}: the request's {} bytes are no {}", full_name_, content.size(),
                          descriptor_->input_type()->full_name());
}

absl::Status LocalMethod::not_unary() const {
  return unimplemented("{} answers a stream of messages, not one; call it as a stream", full_name_);
}

}  // namespace virtufin::rpc
