#include "bus/memory/filter.h"

namespace virtufin::bus::memory {

Interner::Atom::~Atom() {
  if (!table_) return;
  std::lock_guard lock(table_->mutex_);
  const auto found = table_->entries_.find(text_);
  if (--found->second.holders == 0) table_->entries_.erase(found);
}

Interner::Atom Interner::intern(std::string_view text) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(text);
  if (found == entries_.end()) {
    found = entries_.emplace(std::string(text), Entry{next_++, 0}).first;
  }
  ++found->second.holders;
  return {shared_from_this(), std::string(text), found->second.id};
}

std::size_t Interner::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

namespace {

bool ends_in_star(std::string_view text) { return !text.empty() && text.back() == '*'; }

bool matches_text(std::string_view wanted, std::string_view value) {
  if (wanted.empty()) return true;
  if (!ends_in_star(wanted)) return wanted == value;
  return value.starts_with(wanted.substr(0, wanted.size() - 1));
}

}  // namespace

CompiledFilter::Part CompiledFilter::compile(const std::string& text, Interner& interner) {
  Part part;
  if (text.empty() || text == "*") return part;
  if (ends_in_star(text)) {
    part.kind = Part::Kind::kPrefix;
    part.text = text.substr(0, text.size() - 1);
  } else {
    part.kind = Part::Kind::kExact;
    part.text = text;
    part.atom = interner.intern(text);
  }
  return part;
}

CompiledFilter::CompiledFilter(const Filter& filter, Interner& interner)
    : type_(compile(filter.type, interner)),
      subject_(compile(filter.subject, interner)),
      scenario_(compile(filter.scenario_id, interner)),
      wall_(matches_text(filter.clock_type, name(ClockType::kWall))),
      historical_(matches_text(filter.clock_type, name(ClockType::kHistorical))),
      everything_(type_.kind == Part::Kind::kAny && subject_.kind == Part::Kind::kAny &&
                  scenario_.kind == Part::Kind::kAny && wall_ && historical_) {}

void AtomTable::add(std::string_view text, std::uint32_t id) {
  if (find(text) != 0) return;
  if (few_.size() < kLinear && many_.empty()) {
    few_.emplace_back(text, id);
    return;
  }
  for (const auto& [held, held_id] : few_) many_.emplace(std::string(held), held_id);
  few_.clear();
  many_.emplace(std::string(text), id);
}

std::uint32_t AtomTable::find(std::string_view text) const {
  for (const auto& [held, id] : few_) {
    if (held == text) return id;
  }
  if (many_.empty()) return 0;
  const auto found = many_.find(text);
  return found == many_.end() ? 0 : found->second;
}

void TargetFilters::add(const CompiledFilter& filter) {
  using Kind = CompiledFilter::Part::Kind;
  const auto add_to = [](AtomTable& table, const CompiledFilter::Part& part) {
    if (part.kind == Kind::kExact) table.add(part.text, part.atom.id());
  };
  add_to(types_, filter.type_);
  add_to(subjects_, filter.subject_);
  add_to(scenarios_, filter.scenario_);
}

bool TargetFilters::accepts(const CompiledFilter& filter, Keys& keys) {
  using Kind = CompiledFilter::Part::Kind;
  if (filter.everything_) return true;
  const Event& event = keys.event_;
  if (!(event.clock() == ClockType::kWall ? filter.wall_ : filter.historical_)) return false;
  const auto part_accepts = [](const CompiledFilter::Part& part, const AtomTable& table,
                               std::uint32_t& key, std::string_view value) {
    if (part.kind == Kind::kAny) return true;
    if (part.kind == Kind::kPrefix) return value.starts_with(part.text);
    if (key == Keys::kUnknown) key = table.find(value);
    return key == part.atom.id();
  };
  return part_accepts(filter.type_, keys.filters_.types_, keys.type_, event.type()) &&
         part_accepts(filter.scenario_, keys.filters_.scenarios_, keys.scenario_,
                      event.scenario_id()) &&
         part_accepts(filter.subject_, keys.filters_.subjects_, keys.subject_, event.subject());
}

}  // namespace virtufin::bus::memory
