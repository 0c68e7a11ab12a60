import { Button, Checkbox } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { discardLetters, replayLetters } from "../api/decide";
import type { DeadLetter, DeadLetterDepth } from "../api/types";
import { Dialog, DialogForm } from "../components/dialog";
import { LetterView } from "../components/letter-view";
import { ListState } from "../components/list-state";
import { Outcome } from "../components/outcome";
import { navigate, useSearch } from "../components/router";
import { useSession } from "../components/session";
import { LETTERS_KEY, useLetters } from "../components/use-letters";
import { When } from "../components/when";
import { discardsText, replaysText, stillChosen } from "../lib/dead-letters";
import { formatCount, formatNumber } from "../lib/format";
import { may } from "../lib/session";
import { DEAD_LETTERS_PATH } from "../lib/views";

/** What decides about dead letters. */
const DECIDES = "rules:write";

interface DepthsProps {
  depths: DeadLetterDepth[];
  consumer: string;
}

/** The consumers that gave up on something; one of them can be chosen. */
function Depths({ depths, consumer }: DepthsProps): React.JSX.Element {
  const all = depths.reduce((sum, depth) => sum + depth.count, 0);
  const known = depths.some((depth) => depth.consumer === consumer);
  const choices = [{ consumer: "", count: all }, ...depths];
  if (consumer !== "" && !known) choices.push({ consumer, count: 0 });
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields
    <div className="depths" role="group" aria-label="Consumer">
      {choices.map((choice) => (
        <button
          key={choice.consumer}
          type="button"
          className="depth"
          data-testid="depth"
          aria-pressed={choice.consumer === consumer}
          onClick={() => {
            const search = new URLSearchParams({ consumer: choice.consumer });
            navigate(choice.consumer === "" ? DEAD_LETTERS_PATH : `${DEAD_LETTERS_PATH}?${search}`);
          }}
        >
          <span>{choice.consumer === "" ? "All" : choice.consumer}</span>
          <strong>{formatCount(choice.count)}</strong>
        </button>
      ))}
    </div>
  );
}

interface RowProps {
  letter: DeadLetter;
  decides: boolean;
  chosen: boolean;
  onChoose: (chosen: boolean) => void;
  onOpen: () => void;
}

function Row({ letter, decides, chosen, onChoose, onOpen }: RowProps): React.JSX.Element {
  return (
    <tr data-testid="letter" data-state={letter.state}>
      {decides && (
        <td>
          <Checkbox
            size="xs"
            aria-label={`Choose letter ${letter.id}`}
            checked={chosen}
            onChange={(event) => onChoose(event.currentTarget.checked)}
          />
        </td>
      )}
      <td className="nowrap">
        <When at={letter.at} none="unknown" />
        {letter.state !== "waiting" && <span className="cell-note">{letter.state}</span>}
      </td>
      <td>{letter.consumer}</td>
      <th scope="row" className="cell-wide">
        <button type="button" className="letter-open" onClick={onOpen}>
          {letter.error}
        </button>
        <span className="cell-note mono">{letter.subject}</span>
      </th>
      <td className="number">{letter.attempts}</td>
      <td className="number">{letter.offset ?? <span className="subtle">none</span>}</td>
      <td className="number">{formatNumber(letter.bytes, "bytes")}</td>
    </tr>
  );
}

interface ListProps extends Pick<RowProps, "decides"> {
  letters: DeadLetter[];
  chosen: ReadonlySet<string>;
  onChoose: (chosen: ReadonlySet<string>) => void;
  onOpen: (letter: DeadLetter) => void;
}

function List({ letters, decides, chosen, onChoose, onOpen }: ListProps): React.JSX.Element {
  const count = stillChosen(chosen, letters).length;
  const toggle = (id: string, on: boolean): void => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    onChoose(next);
  };
  return (
    <div className="table-scroll">
      <table className="admin-table">
        <thead>
          <tr>
            {decides && (
              <th scope="col">
                <Checkbox
                  size="xs"
                  aria-label="Choose all that are listed"
                  checked={count === letters.length}
                  indeterminate={count > 0 && count < letters.length}
                  onChange={(event) => {
                    const all = event.currentTarget.checked ? letters : [];
                    onChoose(new Set(all.map((letter) => letter.id)));
                  }}
                />
              </th>
            )}
            <th scope="col">Given up</th>
            <th scope="col">Consumer</th>
            <th scope="col">Error and subject</th>
            <th scope="col" className="number">
              Attempts
            </th>
            <th scope="col" className="number">
              Position
            </th>
            <th scope="col" className="number">
              Size
            </th>
          </tr>
        </thead>
        <tbody>
          {letters.map((letter) => (
            <Row
              key={letter.id}
              letter={letter}
              decides={decides}
              chosen={chosen.has(letter.id)}
              onChoose={(on) => toggle(letter.id, on)}
              onOpen={() => onOpen(letter)}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A letter in full, or letters that something shall be done with. */
type Window =
  | { kind: "letter"; letter: DeadLetter }
  | { kind: "replay"; ids: string[] }
  | { kind: "discard"; ids: string[] };

function lettersText(count: number): string {
  return count === 1 ? "letter" : `${formatCount(count)} letters`;
}

/** What consumers gave up on: to look at, to try again, to throw away. */
export default function DeadLetters(): React.JSX.Element {
  const { session } = useSession();
  const client = useQueryClient();
  const consumer = new URLSearchParams(useSearch()).get("consumer") ?? "";
  const { pages, letters, depths } = useLetters(consumer);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [window, setWindow] = useState<Window | undefined>(undefined);
  const [outcome, setOutcome] = useState("");
  const decides = may(session, DECIDES);
  const ids = stillChosen(chosen, letters);

  const close = (): void => setWindow(undefined);
  const refresh = (): Promise<void> =>
    client.invalidateQueries({
      predicate: ({ queryKey }) => queryKey[0] === LETTERS_KEY || queryKey[0] === "dead-letter",
    });
  const discard = async (which: string[]): Promise<void> => {
    const failures = await discardLetters(which);
    setOutcome(discardsText(which.length - failures.length, failures));
    setChosen(new Set());
    close();
    await refresh();
  };
  const replay = async (which: string[]): Promise<void> => {
    setChosen(new Set());
    close();
    await replayLetters(which, (replays) => setOutcome(replaysText(replays)));
    await refresh();
  };
  return (
    <div className="letters">
      <div className="bar">
        <h1 className="title">Dead letters</h1>
        <span className="subtle">what consumers gave up on</span>
      </div>
      <div className="admin-tools">
        <Depths depths={depths} consumer={consumer} />
        {decides && letters.length > 0 && (
          <div className="bar-end bar-group">
            <span className="subtle">{ids.length > 0 ? `${ids.length} chosen` : ""}</span>
            <Button
              size="xs"
              disabled={ids.length === 0}
              onClick={() => setWindow({ kind: "replay", ids })}
            >
              Replay
            </Button>
            <Button
              size="xs"
              variant="default"
              disabled={ids.length === 0}
              onClick={() => setWindow({ kind: "discard", ids })}
            >
              Discard
            </Button>
          </div>
        )}
      </div>
      <Outcome text={outcome} />
      <ListState
        query={pages}
        count={letters.length}
        empty={
          consumer === ""
            ? "No dead letters: everything that came was processed."
            : `No dead letters of ${consumer}.`
        }
      >
        <List
          letters={letters}
          decides={decides}
          chosen={chosen}
          onChoose={setChosen}
          onOpen={(letter) => setWindow({ kind: "letter", letter })}
        />
        <div className="admin-more">
          <span className="subtle" role="status">
            {formatCount(letters.length)} {letters.length === 1 ? "letter" : "letters"}
            {pages.hasNextPage ? "" : ", that is all"}
          </span>
          {pages.hasNextPage && (
            <Button
              size="xs"
              variant="default"
              loading={pages.isFetchingNextPage}
              onClick={() => void pages.fetchNextPage()}
            >
              Older letters
            </Button>
          )}
        </div>
      </ListState>
      <Dialog
        opened={window !== undefined}
        title={
          window?.kind === "letter"
            ? "Dead letter"
            : `${window?.kind === "replay" ? "Replay" : "Discard"} ${lettersText(window?.ids.length ?? 0)}`
        }
        size={window?.kind === "letter" ? "xl" : "md"}
        onClose={close}
      >
        {window?.kind === "letter" && (
          <LetterView
            letter={window.letter}
            decides={decides}
            onReplay={() => setWindow({ kind: "replay", ids: [window.letter.id] })}
            onDiscard={() => setWindow({ kind: "discard", ids: [window.letter.id] })}
          />
        )}
        {window?.kind === "replay" && (
          <DialogForm
            action="Replay"
            onCancel={close}
            onSubmit={async () => void replay(window.ids)}
          >
            <p>
              What the gateway refused is stored as an event of its own; what another consumer gave
              up on, it gets again. What succeeds leaves this list, what fails again stays in it.
            </p>
          </DialogForm>
        )}
        {window?.kind === "discard" && (
          <DialogForm action="Discard" danger onCancel={close} onSubmit={() => discard(window.ids)}>
            <p>
              {window.ids.length === 1 ? "The letter" : `The ${window.ids.length} letters`} and what
              is in {window.ids.length === 1 ? "it" : "them"} will be gone. This cannot be undone.
            </p>
          </DialogForm>
        )}
      </Dialog>
    </div>
  );
}
