import { ActionIcon, Button, Popover, TextInput } from "@mantine/core";
import { useState } from "react";
import { serverNow } from "../api/clock";
import {
  describeRange,
  fixedRange,
  formatDateTime,
  parseTime,
  type RangeText,
  resolveRange,
  shiftRange,
  type TimeRange,
  widenRange,
} from "../lib/time";
import { ClockIcon, DownIcon, LeftIcon, RightIcon, ZoomOutIcon } from "./icons";

interface TimeRangeProps {
  range: RangeText;
  onChange: (range: RangeText) => void;
}

const PRESETS = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "30d", "90d"];

/** Returns an end of a range as people edit it: a date rather than milliseconds. */
function editable(text: string): string {
  if (text.includes("now")) return text;
  const ms = parseTime(text, 0);
  return ms === undefined ? text : formatDateTime(ms);
}

function fixedEnd(text: string): string {
  const trimmed = text.trim();
  if (trimmed.includes("now")) return trimmed.replace(/\s+/g, "");
  return String(parseTime(trimmed, 0) ?? trimmed);
}

interface CustomRangeProps extends TimeRangeProps {
  onDone: () => void;
}

function CustomRange({ range, onChange, onDone }: CustomRangeProps): React.JSX.Element {
  const [from, setFrom] = useState(editable(range.from));
  const [to, setTo] = useState(editable(range.to));
  const now = serverNow();
  const problem = (text: string): string | undefined =>
    parseTime(text, now) === undefined ? "write now-1h or 2026-11-21 10:00:00" : undefined;
  const readable = !problem(from) && !problem(to);
  const reversed =
    readable && !resolveRange({ from, to }, now) ? "the end is not after the start" : undefined;
  const apply = (event: React.FormEvent): void => {
    event.preventDefault();
    if (!readable || reversed) return;
    onChange({ from: fixedEnd(from), to: fixedEnd(to) });
    onDone();
  };
  return (
    <form className="range-custom" onSubmit={apply}>
      <TextInput
        label="From"
        size="xs"
        value={from}
        error={problem(from)}
        onChange={(event) => setFrom(event.currentTarget.value)}
      />
      <TextInput
        label="To"
        size="xs"
        value={to}
        error={problem(to) ?? reversed}
        onChange={(event) => setTo(event.currentTarget.value)}
      />
      <Button type="submit" size="xs" disabled={!readable || reversed !== undefined}>
        Apply
      </Button>
    </form>
  );
}

/** Chooses the time range: a preset, two written ends, or a step to the side of the present one. */
export function TimeRangePicker({ range, onChange }: TimeRangeProps): React.JSX.Element {
  const [open, setOpen] = useState(false);
  const move = (change: (fixed: TimeRange) => TimeRange): void => {
    const fixed = resolveRange(range, serverNow());
    if (fixed) onChange(fixedRange(change(fixed)));
  };
  return (
    <ActionIcon.Group className="range">
      <ActionIcon
        variant="default"
        size={30}
        aria-label="Earlier"
        onClick={() => move((fixed) => shiftRange(fixed, -1))}
      >
        <LeftIcon />
      </ActionIcon>
      <Popover opened={open} onChange={setOpen} position="bottom" trapFocus shadow="md">
        <Popover.Target>
          <Button
            variant="default"
            size="xs"
            className="range-button"
            leftSection={<ClockIcon size={14} />}
            rightSection={<DownIcon size={12} />}
            data-testid="time-range"
            onClick={() => setOpen(!open)}
          >
            <span className="range-label">{describeRange(range, serverNow())}</span>
          </Button>
        </Popover.Target>
        <Popover.Dropdown className="range-dropdown" aria-label="Time range">
          <div className="range-presets">
            {PRESETS.map((preset) => (
              <Button
                key={preset}
                size="compact-xs"
                variant={range.from === `now-${preset}` && range.to === "now" ? "light" : "subtle"}
                color={range.from === `now-${preset}` ? "brand" : "gray"}
                onClick={() => {
                  onChange({ from: `now-${preset}`, to: "now" });
                  setOpen(false);
                }}
              >
                {preset}
              </Button>
            ))}
          </div>
          <CustomRange range={range} onChange={onChange} onDone={() => setOpen(false)} />
        </Popover.Dropdown>
      </Popover>
      <ActionIcon
        variant="default"
        size={30}
        aria-label="Later"
        onClick={() => move((fixed) => shiftRange(fixed, 1))}
      >
        <RightIcon />
      </ActionIcon>
      <ActionIcon
        variant="default"
        size={30}
        aria-label="Zoom out"
        onClick={() => move((fixed) => widenRange(fixed, serverNow()))}
      >
        <ZoomOutIcon size={15} />
      </ActionIcon>
    </ActionIcon.Group>
  );
}
