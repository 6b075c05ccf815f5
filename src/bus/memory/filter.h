#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "core/errors.h"

namespace virtufin::bus::memory {

/// The texts that standing subscriptions' filters name, each with a number, counted down when they
/// end. Publishing never comes here: what a topic's subscribers need is kept beside them
/// (AtomTable).
///
/// Threads: any.
class Interner : public std::enable_shared_from_this<Interner> {
 public:
  /// A share in one text. An empty one stands for nothing.
  class Atom {
   public:
    Atom() = default;
    Atom(Atom&& other) noexcept { swap(other); }
    Atom& operator=(Atom&& other) noexcept {
      swap(other);
      return *this;
    }
    ~Atom();
    std::uint32_t id() const { return id_; }

   private:
    friend class Interner;
    Atom(std::shared_ptr<Interner> table, std::string text, std::uint32_t id)
        : table_(std::move(table)), text_(std::move(text)), id_(id) {}
    void swap(Atom& other) noexcept {
      table_.swap(other.table_);
      text_.swap(other.text_);
      std::swap(id_, other.id_);
    }
    std::shared_ptr<Interner> table_;
    std::string text_;
    std::uint32_t id_ = 0;
  };

  Atom intern(std::string_view text);
  std::size_t size() const;

 private:
  struct Entry {
    std::uint32_t id;
    std::size_t holders;
  };
  mutable std::mutex mutex_;
  StringMap<Entry> entries_;
  std::uint32_t next_ = 1;
};

/// A Filter made ready for comparing. Immutable. Shared by the subscription (or its group) and the
/// topics that it hears.
class CompiledFilter {
 public:
  CompiledFilter(const Filter& filter, Interner& interner);

  bool everything() const { return everything_; }

 private:
  friend class TargetFilters;
  struct Part {
    enum class Kind : std::uint8_t { kAny, kExact, kPrefix };
    Kind kind = Kind::kAny;
    Interner::Atom atom;  // of kExact
    std::string text;
  };
  static Part compile(const std::string& text, Interner& interner);

  Part type_, subject_, scenario_;
  bool wall_ = true, historical_ = true;
  bool everything_ = true;
};

/// The exact texts that the subscribers of one topic ask for in one attribute. Part of the topic's
/// immutable list, so that looking up takes no lock and inserts nothing.
class AtomTable {
 public:
  void add(std::string_view text, std::uint32_t id);
  /// 0 if nobody asks for it.
  std::uint32_t find(std::string_view text) const;

 private:
  // Comparing lengths and bytes beats hashing for a handful.
  static constexpr std::size_t kLinear = 8;
  std::vector<std::pair<std::string_view, std::uint32_t>> few_;
  StringMap<std::uint32_t> many_;
};

/// The filters of a topic's subscribers beside the tables that they share. The filters outlive it.
class TargetFilters {
 public:
  void add(const CompiledFilter& filter);

  /// One event's numbers, looked up when the first filter asks for them.
  class Keys {
   public:
    Keys(const TargetFilters& filters, const Event& event) : filters_(filters), event_(event) {}

   private:
    friend class TargetFilters;
    static constexpr std::uint32_t kUnknown = ~std::uint32_t{0};
    const TargetFilters& filters_;
    const Event& event_;
    std::uint32_t type_ = kUnknown, subject_ = kUnknown, scenario_ = kUnknown;
  };
  static bool accepts(const CompiledFilter& filter, Keys& keys);

 private:
  AtomTable types_, subjects_, scenarios_;
};

}  // namespace virtufin::bus::memory
