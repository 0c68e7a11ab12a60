/** Says what was done. It is always there, so that a change of its text is read out. */
export function Outcome({ text }: { text: string }): React.JSX.Element {
  return (
    <div role="status" className={text === "" ? undefined : "notice done"} data-testid="outcome">
      {text}
    </div>
  );
}
