import { serverNow } from "../api/clock";
import { formatDateTime, formatDistance } from "../lib/time";

/** A time as people say it, `3h ago`, with the exact one as its title; or what stands for none. */
export function When({ at, none }: { at: string | null; none: string }): React.JSX.Element {
  const ms = at === null ? Number.NaN : Date.parse(at);
  if (at === null || Number.isNaN(ms)) return <span className="subtle">{none}</span>;
  return (
    <time dateTime={at} title={formatDateTime(ms)}>
      {formatDistance(ms, serverNow())}
    </time>
  );
}
