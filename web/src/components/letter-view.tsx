import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { deadLetter } from "../api/events";
import type { DeadLetter, DeadLetterInFull } from "../api/types";
import { decodeBase64, hexDump, readableText } from "../lib/dead-letters";
import { formatExact } from "../lib/event-text";
import { formatNumber } from "../lib/format";
import { JsonView, TextView } from "./json-view";

const NO_BYTES = new Uint8Array();

function Content({ letter }: { letter: DeadLetterInFull }): React.JSX.Element {
  const bytes = useMemo(() => decodeBase64(letter.body_base64) ?? NO_BYTES, [letter.body_base64]);
  const text = useMemo(() => readableText(bytes), [bytes]);
  const forms = [
    ...(letter.event ? [{ value: "event", label: "Event" }] : []),
    ...(text === undefined ? [] : [{ value: "text", label: "Text" }]),
    { value: "hex", label: "Bytes" },
  ];
  const [form, setForm] = useState(forms[0]?.value ?? "hex");
  return (
    <>
      {forms.length > 1 && (
        <SegmentedControl
          size="xs"
          aria-label="Content as"
          data={forms}
          value={form}
          onChange={setForm}
        />
      )}
      {form === "event" && <JsonView value={letter.event} />}
      {form === "text" && <TextView text={text ?? ""} />}
      {form === "hex" && <TextView text={hexDump(bytes)} />}
    </>
  );
}

function Headers({ headers }: { headers: Record<string, string> }): React.JSX.Element | null {
  const names = Object.keys(headers).sort();
  if (names.length === 0) return null;
  return (
    <>
      <dt>Headers</dt>
      <dd className="mono letter-headers">
        {names.map((name) => (
          <div key={name}>
            {name}: {headers[name]}
          </div>
        ))}
      </dd>
    </>
  );
}

interface LetterViewProps {
  letter: DeadLetter;
  /** Whether who looks at it may decide about it. */
  decides: boolean;
  onReplay: () => void;
  onDiscard: () => void;
}

/** One dead letter in full. */
export function LetterView(props: LetterViewProps): React.JSX.Element {
  const { letter: listed, decides, onReplay, onDiscard } = props;
  const { data, error } = useQuery({
    queryKey: ["dead-letter", listed.id],
    queryFn: ({ signal }) => deadLetter(listed.id, signal),
  });
  const letter = data ?? listed;
  return (
    <div className="letter-view" data-testid="letter-view">
      <div className="notice error">{letter.error}</div>
      <dl className="about">
        <dt>Consumer</dt>
        <dd>{letter.consumer}</dd>
        <dt>Given up</dt>
        <dd>
          {formatExact(letter.at)}
          <span className="subtle">
            {" "}
            · after {letter.attempts} {letter.attempts === 1 ? "attempt" : "attempts"}
          </span>
        </dd>
        <dt>State</dt>
        <dd>{letter.state}</dd>
        <dt>Subject</dt>
        <dd className="mono">{letter.subject}</dd>
        <dt>Position</dt>
        <dd className="mono">{letter.offset ?? "not in the log"}</dd>
        <dt>Size</dt>
        <dd>{formatNumber(letter.bytes, "bytes")}</dd>
        <Headers headers={letter.headers} />
      </dl>
      {error && (
        <div className="notice error" role="alert">
          {error.message}
        </div>
      )}
      {data && <Content letter={data} />}
      {decides && (
        <div className="form-actions">
          <Button variant="default" color="red" onClick={onDiscard}>
            Discard
          </Button>
          <Button disabled={letter.state !== "waiting"} onClick={onReplay}>
            Replay
          </Button>
        </div>
      )}
    </div>
  );
}
