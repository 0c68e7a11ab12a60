import { serverNow } from "../api/clock";
import { formatDateTime, formatDistance } from "../lib/time";

/** A time as people say it, `3h ago`, with the exact one as its title; or what stands for none. */
export function When(props: { at: string | null | undefined; none: string }): React.JSX.Element {
  const { at, none } = props;
  const ms = at ? Date.parse(at) : Number.NaN;
  if (!at || Number.isNaN(ms)) return <span className="subtle">{none}</span>;
  return (
    <time dateTime={at} title={formatDateTime(ms)}>
      {formatDistance(ms, serverNow())}
    </time>
  );
}
