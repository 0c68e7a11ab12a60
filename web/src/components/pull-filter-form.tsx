import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import {
  encodePullFilter,
  isFilteringPulls,
  PULL_FIELD_CHARS_MAX,
  PULL_FIELDS,
  PULL_FILTER_NONE,
  type PullFilter,
  STATE_CHOICES,
} from "../lib/pull-filter";
import { usePullNodes } from "./use-pull-nodes";

type Field = (typeof PULL_FIELDS)[number];

interface PullFilterFormProps {
  filter: PullFilter;
  /** The fields that are shown. */
  fields?: readonly Field[];
  /** Whether nodes, clusters and namespaces are wanted by their whole names. */
  whole?: boolean;
  /** Whether states can be chosen. */
  states?: boolean;
  /** What else can be chosen. */
  children?: React.ReactNode;
  onChange: (filter: PullFilter) => void;
}

/** The fields in which the server wants whole names. */
const WHOLE: ReadonlySet<Field> = new Set(["node", "cluster", "namespace"]);

/** How long after the last key what is written takes effect. */
const TYPED_MS = 300;

const LABELS = {
  image: "Image",
  node: "Node",
  cluster: "Cluster",
  namespace: "Namespace",
  pod: "Pod",
};

/** The fields of the filter. What is written takes effect by itself, or with Enter. */
export function PullFilterForm(props: PullFilterFormProps): React.JSX.Element {
  const { filter, fields = PULL_FIELDS, whole = true, states = true, children, onChange } = props;
  const { data: nodes = [] } = usePullNodes();
  const [draft, setDraft] = useState<Partial<PullFilter>>({});
  const [unfolded, setUnfolded] = useState(false);
  const latest = useRef({ filter, onChange });
  latest.current = { filter, onChange };
  const typed = JSON.stringify(draft);

  useEffect(() => {
    const more: Partial<PullFilter> = JSON.parse(typed);
    const timer = setTimeout(() => apply(latest.current, more), TYPED_MS);
    return () => clearTimeout(timer);
  }, [typed]);

  const field = (name: Field) => (
    <TextInput
      key={name}
      size="xs"
      label={LABELS[name]}
      placeholder={whole && WHOLE.has(name) ? "any, or its whole name" : "any, or a part"}
      list={name === "node" || name === "cluster" ? `known-${name}` : undefined}
      autoComplete="off"
      spellCheck={false}
      maxLength={PULL_FIELD_CHARS_MAX}
      value={draft[name] ?? filter[name]}
      onChange={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
      onBlur={() => {
        apply({ filter, onChange }, draft);
        setDraft({});
      }}
    />
  );
  const names = (name: "node" | "cluster"): string[] =>
    [...new Set(nodes.map((node) => node[name]))].filter((text) => text !== "").sort();
  const used = encodePullFilter(filter).size;
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
        className="pulls-filter"
        aria-label="Filter"
        data-unfolded={unfolded}
        onSubmit={(event) => {
          event.preventDefault();
          apply({ filter, onChange }, draft);
        }}
      >
        {fields.map(field)}
        {(["node", "cluster"] as const).map((name) => (
          <datalist key={name} id={`known-${name}`}>
            {names(name).map((text) => (
              <option key={text} value={text} />
            ))}
          </datalist>
        ))}
        {states && (
          <NativeSelect
            size="xs"
            label="State"
            data={STATE_CHOICES}
            value={filter.state}
            onChange={(event) =>
              onChange({ ...filter, ...draft, state: event.currentTarget.value })
            }
          />
        )}
        {children}
        {isFilteringPulls(filter) && (
          <Button
            size="xs"
            variant="default"
            onClick={() => {
              setDraft({});
              onChange(PULL_FILTER_NONE);
            }}
          >
            Show all
          </Button>
        )}
      </form>
    </>
  );
}

/** Changes a filter by what was written, unless it says the same. */
function apply(
  { filter, onChange }: Pick<PullFilterFormProps, "filter" | "onChange">,
  draft: Partial<PullFilter>,
): void {
  const next = { ...filter, ...draft };
  if (encodePullFilter(next).toString() !== encodePullFilter(filter).toString()) onChange(next);
}
