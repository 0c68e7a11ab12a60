import { Button, Checkbox, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { reload, settings } from "../../api/admin";
import type { Reloaded } from "../../api/types";
import { ListState } from "../../components/list-state";
import { findSettings, isChanged, isSecret, settingText } from "../../lib/settings";

function ReloadResult({ result }: { result: Reloaded }): React.JSX.Element {
  const { applied, needs_restart: waiting } = result;
  if (applied.length === 0 && waiting.length === 0) {
    return <>Nothing has changed since the configuration was read.</>;
  }
  return (
    <>
      {applied.length > 0 && (
        <div>
          In force now: <span className="mono">{applied.join(", ")}</span>
        </div>
      )}
      {waiting.length > 0 && (
        <div>
          Only after a restart: <span className="mono">{waiting.join(", ")}</span>
        </div>
      )}
    </>
  );
}

/** Reads the configuration again, and says what that did. */
function Reload(): React.JSX.Element {
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<Reloaded | Error | undefined>(undefined);
  const run = async (): Promise<void> => {
    setBusy(true);
    try {
      setResult(await reload());
      await client.invalidateQueries({ queryKey: ["settings"] });
    } catch (reason) {
      setResult(reason instanceof Error ? reason : new Error(String(reason)));
    } finally {
      setBusy(false);
    }
  };
  const failed = result instanceof Error;
  return (
    <>
      <Button size="xs" variant="default" loading={busy} onClick={() => void run()}>
        Read the configuration again
      </Button>
      <div
        className={result ? `notice reload-result ${failed ? "error" : "done"}` : undefined}
        role={failed ? "alert" : "status"}
        data-testid="reload-result"
      >
        {failed ? result.message : result && <ReloadResult result={result} />}
      </div>
    </>
  );
}

/** Every setting that is in force, and where it comes from. */
export function Configuration(): React.JSX.Element {
  const [search, setSearch] = useState("");
  const [changed, setChanged] = useState(false);
  const all = useQuery({ queryKey: ["settings"], queryFn: ({ signal }) => settings(signal) });
  const list = all.data ?? [];
  const found = findSettings(list, search).filter((setting) => !changed || isChanged(setting));
  return (
    <>
      <div className="admin-tools">
        <TextInput
          size="xs"
          className="admin-search"
          aria-label="Search settings"
          placeholder="Search settings"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
        <Checkbox
          size="xs"
          label="Only what is not the default"
          checked={changed}
          onChange={(event) => setChanged(event.currentTarget.checked)}
        />
        <span className="subtle" role="status">
          {all.data ? `${found.length} of ${list.length} settings` : ""}
        </span>
        <Reload />
      </div>
      <ListState query={all} count={found.length} empty="No setting fits the search.">
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Setting</th>
                <th scope="col">Value</th>
                <th scope="col">Comes from</th>
                <th scope="col">A change</th>
              </tr>
            </thead>
            <tbody>
              {found.map((setting) => (
                <tr key={setting.path} data-testid="setting">
                  <th scope="row" className="mono">
                    {setting.path}
                  </th>
                  <td
                    className={
                      isSecret(setting) || setting.value === "" ? "subtle" : "mono cell-wide"
                    }
                  >
                    {settingText(setting)}
                  </td>
                  <td className={isChanged(setting) ? undefined : "subtle"}>{setting.origin}</td>
                  <td className="subtle">
                    {setting.reloadable ? "counts when read again" : "needs a restart"}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </ListState>
    </>
  );
}
