import { Button, Checkbox, NativeSelect, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { createKey, listKeys, revokeKey, rotateKey } from "../../api/admin";
import { serverNow } from "../../api/clock";
import type { ApiKey, CreatedKey } from "../../api/types";
import { Dialog, DialogForm } from "../../components/dialog";
import { PlusIcon } from "../../components/icons";
import { LimitsFields } from "../../components/limits-fields";
import { ListState } from "../../components/list-state";
import { Outcome } from "../../components/outcome";
import { Secret } from "../../components/secret";
import { useSession } from "../../components/session";
import { When } from "../../components/when";
import {
  EXPIRY_CHOICES,
  expiresAt,
  keyState,
  OVERLAP_CHOICES,
  OVERLAP_DEFAULT,
  PERMISSIONS,
  permissionsName,
} from "../../lib/keys";
import { KEY_LIMITS, limitCount, limitsOf, limitsReady, limitTexts } from "../../lib/limits";
import { managesServer } from "../../lib/session";
import { roleChoices } from "../../lib/users";

const CUSTOM = "custom";
/** What new keys are for most of the time. */
const ROLE_DEFAULT = "ingest";

interface CreateProps {
  onCancel: () => void;
  onCreated: (key: CreatedKey) => void;
}

function CreateForm({ onCancel, onCreated }: CreateProps): React.JSX.Element {
  const { session } = useSession();
  const [name, setName] = useState("");
  const [role, setRole] = useState(ROLE_DEFAULT);
  const [permissions, setPermissions] = useState<string[]>([]);
  const [days, setDays] = useState("0");
  const [app, setApp] = useState("");
  const [everywhere, setEverywhere] = useState(false);
  const [limits, setLimits] = useState(() => limitTexts(KEY_LIMITS, {}));
  const custom = role === CUSTOM;
  const ready =
    name.trim() !== "" && (!custom || permissions.length > 0) && limitsReady(KEY_LIMITS, limits);

  const submit = async (): Promise<void> => {
    const until = expiresAt(Number(days), serverNow());
    const wanted = limitsOf(KEY_LIMITS, limits);
    onCreated(
      await createKey({
        name: name.trim(),
        ...(custom ? { permissions } : { role }),
        ...(app.trim() === "" ? {} : { app: app.trim() }),
        ...(until === undefined ? {} : { expires_at: until }),
        ...(everywhere ? { all_tenants: true } : {}),
        ...(limitCount(wanted) > 0 ? { limits: wanted } : {}),
      }),
    );
  };
  return (
    <DialogForm action="Create the key" ready={ready} onCancel={onCancel} onSubmit={submit}>
      <TextInput
        label="Name"
        description="Who or what uses it; it is shown in the audit log."
        data-autofocus
        autoComplete="off"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <NativeSelect
        label="Allowed"
        data={[...roleChoices(), { value: CUSTOM, label: "chosen permissions" }]}
        value={role}
        onChange={(event) => setRole(event.currentTarget.value)}
      />
      {custom && (
        <fieldset className="checks">
          <legend>Permissions</legend>
          {PERMISSIONS.map((permission) => (
            <Checkbox
              key={permission}
              size="xs"
              label={permission}
              checked={permissions.includes(permission)}
              onChange={(event) => {
                const rest = permissions.filter((other) => other !== permission);
                setPermissions(event.currentTarget.checked ? [...rest, permission] : rest);
              }}
            />
          ))}
        </fieldset>
      )}
      <NativeSelect
        label="Ends"
        data={EXPIRY_CHOICES}
        value={days}
        onChange={(event) => setDays(event.currentTarget.value)}
      />
      <details>
        <summary>More: application, limits{managesServer(session) ? ", tenants" : ""}</summary>
        <div className="form more">
          <TextInput
            label="Application"
            description="Events must belong to it; empty for any."
            autoComplete="off"
            value={app}
            onChange={(event) => setApp(event.currentTarget.value)}
          />
          <LimitsFields fields={KEY_LIMITS} texts={limits} scope="key" onChange={setLimits} />
          {managesServer(session) && (
            <Checkbox
              size="xs"
              label="May act in every tenant"
              checked={everywhere}
              onChange={(event) => setEverywhere(event.currentTarget.checked)}
            />
          )}
        </div>
      </details>
    </DialogForm>
  );
}

interface RotateProps extends CreateProps {
  old: ApiKey;
}

function RotateForm({ old, onCancel, onCreated }: RotateProps): React.JSX.Element {
  const [overlap, setOverlap] = useState(OVERLAP_DEFAULT);
  return (
    <DialogForm
      action="Rotate the key"
      onCancel={onCancel}
      onSubmit={async () => onCreated(await rotateKey(old.id, overlap))}
    >
      <p>
        A new key with the same name and permissions takes the place of <strong>{old.name}</strong>.
      </p>
      <NativeSelect
        label="The old key stays valid for"
        data={OVERLAP_CHOICES}
        data-autofocus
        value={overlap}
        onChange={(event) => setOverlap(event.currentTarget.value)}
      />
    </DialogForm>
  );
}

type Window =
  | { kind: "create" }
  | { kind: "created"; key: CreatedKey }
  | { kind: "rotate"; key: ApiKey }
  | { kind: "revoke"; key: ApiKey };

const TITLES = {
  create: "New key",
  created: "The new key",
  rotate: "Rotate a key",
  revoke: "Revoke a key",
};

interface RowProps {
  apiKey: ApiKey;
  onOpen: (window: Window) => void;
}

function Row({ apiKey: key, onOpen }: RowProps): React.JSX.Element {
  const state = keyState(key, serverNow());
  const usable = state === "active" || state === "expiring";
  const limits = limitCount(key.limits);
  return (
    <tr data-testid="key" data-state={state}>
      <th scope="row">
        {key.name}
        <span className="cell-note mono">{key.id}</span>
      </th>
      <td>
        {permissionsName(key.permissions)}
        {key.all_tenants && <span className="cell-note">all tenants</span>}
        {key.app && <span className="cell-note">application {key.app}</span>}
        {limits > 0 && <span className="cell-note">own limits: {limits}</span>}
      </td>
      <td>
        <When at={key.created_at} none="unknown" />
        {key.created_by !== "" && <span className="cell-note mono">{key.created_by}</span>}
      </td>
      <td>
        <When at={key.last_used_at} none="never" />
      </td>
      <td>
        <span className="state" data-state={state}>
          {state === "revoked" ? "revoked " : state === "expired" ? "expired " : ""}
          {state === "revoked" ? (
            <When at={key.revoked_at} none="" />
          ) : (
            <When at={key.expires_at} none="never ends" />
          )}
        </span>
        {key.replaced_by && <span className="cell-note">replaced</span>}
      </td>
      <td className="actions">
        {usable && (
          <>
            <Button
              size="compact-xs"
              variant="subtle"
              aria-label={`Rotate ${key.name}`}
              onClick={() => onOpen({ kind: "rotate", key })}
            >
              Rotate
            </Button>
            <Button
              size="compact-xs"
              variant="subtle"
              color="red"
              aria-label={`Revoke ${key.name}`}
              onClick={() => onOpen({ kind: "revoke", key })}
            >
              Revoke
            </Button>
          </>
        )}
      </td>
    </tr>
  );
}

/** The keys of a tenant: who may send and read without a login. */
export function Keys(): React.JSX.Element {
  const client = useQueryClient();
  const [revoked, setRevoked] = useState(false);
  const [window, setWindow] = useState<Window | undefined>(undefined);
  const [outcome, setOutcome] = useState("");
  const keys = useQuery({
    queryKey: ["keys", revoked],
    queryFn: ({ signal }) => listKeys(revoked, signal),
  });
  const close = (): void => setWindow(undefined);
  const created = (text: string) => (key: CreatedKey) => {
    setOutcome(text);
    setWindow({ kind: "created", key });
    void client.invalidateQueries({ queryKey: ["keys"] });
  };
  const list = keys.data ?? [];
  return (
    <>
      <div className="admin-tools">
        <Button
          size="xs"
          leftSection={<PlusIcon size={14} />}
          onClick={() => setWindow({ kind: "create" })}
        >
          New key
        </Button>
        <Checkbox
          size="xs"
          label="Show revoked keys"
          checked={revoked}
          onChange={(event) => setRevoked(event.currentTarget.checked)}
        />
      </div>
      <Outcome text={outcome} />
      <ListState
        query={keys}
        count={list.length}
        empty="No keys yet. A key lets a program send or read without a person's login."
      >
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Allowed</th>
                <th scope="col">Created</th>
                <th scope="col">Last used</th>
                <th scope="col">Ends</th>
                <th scope="col">
                  <span className="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((key) => (
                <Row key={key.id} apiKey={key} onOpen={setWindow} />
              ))}
            </tbody>
          </table>
        </div>
      </ListState>
      <Dialog
        opened={window !== undefined}
        title={window ? TITLES[window.kind] : ""}
        sticky={window?.kind === "created"}
        size={window?.kind === "created" ? "lg" : "md"}
        onClose={close}
      >
        {window?.kind === "create" && (
          <CreateForm onCancel={close} onCreated={created("The key was created.")} />
        )}
        {window?.kind === "created" && (
          <Secret label={`Key ${window.key.name}`} secret={window.key.key} onDone={close} />
        )}
        {window?.kind === "rotate" && (
          <RotateForm
            old={window.key}
            onCancel={close}
            onCreated={created(`${window.key.name} was rotated.`)}
          />
        )}
        {window?.kind === "revoke" && (
          <DialogForm
            action="Revoke the key"
            danger
            onCancel={close}
            onSubmit={async () => {
              await revokeKey(window.key.id);
              setOutcome(`${window.key.name} was revoked.`);
              close();
              await client.invalidateQueries({ queryKey: ["keys"] });
            }}
          >
            <p>
              Whoever uses <strong>{window.key.name}</strong> is refused at once. This cannot be
              undone.
            </p>
          </DialogForm>
        )}
      </Dialog>
    </>
  );
}
