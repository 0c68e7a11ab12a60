import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useState } from "react";
import {
  CATEGORIES,
  type EventFilter,
  FILTER_FIELDS,
  FILTER_NONE,
  isFiltering,
  TAIL_STARTS,
} from "../lib/event-filter";

interface EventFilterProps {
  filter: EventFilter;
  onChange: (filter: EventFilter) => void;
}

/** The fields of the filter; they start again from the address whenever it changes. */
export function EventFilterForm({ filter, onChange }: EventFilterProps): React.JSX.Element {
  const [draft, setDraft] = useState(filter);
  const [unfolded, setUnfolded] = useState(false);
  const field = (name: keyof EventFilter, label: string, placeholder: string) => (
    <TextInput
      size="xs"
      className={`filter-${name}`}
      label={label}
      placeholder={placeholder}
      autoComplete="off"
      spellCheck={false}
      value={draft[name]}
      onChange={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
    />
  );
  const choice = (name: "category" | "from", label: string, data: typeof TAIL_STARTS) => (
    <NativeSelect
      size="xs"
      label={label}
      data={data}
      value={draft[name]}
      onChange={(event) => {
        const next = { ...draft, [name]: event.currentTarget.value };
        setDraft(next);
        onChange(next);
      }}
    />
  );
  const categories = [
    { value: "", label: "any" },
    ...CATEGORIES.map((value) => ({ value, label: value })),
  ];
  if (!CATEGORIES.includes(draft.category) && draft.category !== "") {
    categories.push({ value: draft.category, label: draft.category });
  }
  const used = FILTER_FIELDS.filter((name) => filter[name] !== "").length;
  return (
    <>
      <Button
        className="filter-fold"
        size="compact-sm"
        variant="default"
        aria-expanded={unfolded}
        onClick={() => setUnfolded(!unfolded)}
      >
        {used === 0 ? "Filter" : `Filter: ${used} in use`}
      </Button>
      <form
        className="events-filter"
        aria-label="Filter"
        data-unfolded={unfolded}
        onSubmit={(event) => {
          event.preventDefault();
          onChange(draft);
        }}
      >
        {field("app", "App", "any, or several: a,b")}
        {choice("category", "Category", categories)}
        {field("type", "Type", "such as view")}
        {field("device", "Device", "any, or several: a,b")}
        {field("path", "JSONPath", "such as $[?@.screenName=='Home']")}
        {choice("from", "Beginning with", TAIL_STARTS)}
        <div className="events-filter-buttons">
          <Button type="submit" size="xs">
            Filter
          </Button>
          {isFiltering(filter) && (
            <Button
              size="xs"
              variant="default"
              onClick={() => onChange({ ...FILTER_NONE, from: filter.from })}
            >
              Show all
            </Button>
          )}
        </div>
      </form>
    </>
  );
}
