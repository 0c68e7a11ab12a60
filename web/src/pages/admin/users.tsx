import { Button, Checkbox, NativeSelect, PasswordInput, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { createUser, deleteUser, listUsers, setPassword, updateUser } from "../../api/admin";
import type { User } from "../../api/types";
import { Dialog, DialogForm } from "../../components/dialog";
import { PlusIcon } from "../../components/icons";
import { ListState } from "../../components/list-state";
import { Outcome } from "../../components/outcome";
import { useSession } from "../../components/session";
import { When } from "../../components/when";
import { managesServer } from "../../lib/session";
import { PASSWORD_CHARS_MIN, passwordProblem, roleChoices } from "../../lib/users";

interface FormProps {
  onCancel: () => void;
  /** Called with what was done. */
  onDone: (outcome: string) => void;
}

interface PasswordFieldProps {
  value: string;
  autoFocus?: boolean;
  onChange: (value: string) => void;
}

function PasswordField({ value, autoFocus, onChange }: PasswordFieldProps): React.JSX.Element {
  return (
    <PasswordInput
      label="Password"
      description={`At least ${PASSWORD_CHARS_MIN} characters.`}
      autoComplete="new-password"
      data-autofocus={autoFocus || undefined}
      value={value}
      error={value === "" ? undefined : passwordProblem(value)}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

const ROLE_DEFAULT = "viewer";

/** Creates a user, or changes what one is. */
function UserForm({ user, onCancel, onDone }: FormProps & { user?: User }): React.JSX.Element {
  const { session } = useSession();
  const [name, setName] = useState(user?.name ?? "");
  const [displayName, setDisplayName] = useState(user?.display_name ?? "");
  const [role, setRole] = useState(user?.role ?? ROLE_DEFAULT);
  const [password, setText] = useState("");
  const [everywhere, setEverywhere] = useState(user?.all_tenants ?? false);
  const [disabled, setDisabled] = useState(user?.disabled ?? false);
  const ready = user !== undefined || (name.trim() !== "" && !passwordProblem(password));

  const submit = async (): Promise<void> => {
    const shownName = displayName.trim();
    const named = shownName === "" ? {} : { display_name: shownName };
    const common = { ...named, role, all_tenants: everywhere };
    if (user) {
      // What only administrators of all tenants may say is left out where it stays as it is.
      const { all_tenants, ...rest } = common;
      const change = all_tenants === user.all_tenants ? rest : common;
      await updateUser(user.id, { ...change, disabled });
      onDone(`${user.name} was changed.`);
    } else {
      await createUser({ ...common, name: name.trim(), password });
      onDone(`${name.trim()} was created.`);
    }
  };
  return (
    <DialogForm
      action={user ? "Save" : "Create the user"}
      ready={ready}
      onCancel={onCancel}
      onSubmit={submit}
    >
      {!user && (
        <TextInput
          label="Name"
          description="What is typed to log in."
          data-autofocus
          autoComplete="off"
          autoCapitalize="none"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
      )}
      <TextInput
        label="Shown name"
        autoComplete="off"
        data-autofocus={user !== undefined || undefined}
        value={displayName}
        onChange={(event) => setDisplayName(event.currentTarget.value)}
      />
      <NativeSelect
        label="Role"
        data={roleChoices()}
        value={role}
        onChange={(event) => setRole(event.currentTarget.value)}
      />
      {!user && <PasswordField value={password} onChange={setText} />}
      {managesServer(session) && (
        <Checkbox
          size="xs"
          label="May act in every tenant"
          checked={everywhere}
          onChange={(event) => setEverywhere(event.currentTarget.checked)}
        />
      )}
      {user && (
        <Checkbox
          size="xs"
          label="Disabled: cannot log in, sessions end at once"
          checked={disabled}
          onChange={(event) => setDisabled(event.currentTarget.checked)}
        />
      )}
    </DialogForm>
  );
}

function PasswordForm({ user, onCancel, onDone }: FormProps & { user: User }): React.JSX.Element {
  const [password, setText] = useState("");
  return (
    <DialogForm
      action="Set the password"
      ready={!passwordProblem(password)}
      onCancel={onCancel}
      onSubmit={async () => {
        await setPassword(user.id, password);
        onDone(`${user.name} has a new password.`);
      }}
    >
      <p>
        The sessions of <strong>{user.name}</strong> end, and the old password is not valid any
        more.
      </p>
      <PasswordField autoFocus value={password} onChange={setText} />
    </DialogForm>
  );
}

type Window =
  | { kind: "create" }
  | { kind: "edit"; user: User }
  | { kind: "password"; user: User }
  | { kind: "delete"; user: User };

const TITLES = {
  create: "New user",
  edit: "Change a user",
  password: "Set a password",
  delete: "Delete a user",
};

function Row({ user, onOpen }: { user: User; onOpen: (window: Window) => void }) {
  const action = (kind: "edit" | "password" | "delete", text: string, name: string) => (
    <Button
      size="compact-xs"
      variant="subtle"
      color={kind === "delete" ? "red" : "brand"}
      aria-label={`${name} ${user.name}`}
      onClick={() => onOpen({ kind, user })}
    >
      {text}
    </Button>
  );
  return (
    <tr data-testid="user">
      <th scope="row">
        {user.name}
        {user.display_name !== user.name && <span className="cell-note">{user.display_name}</span>}
      </th>
      <td>
        {user.role}
        {user.all_tenants && <span className="cell-note">all tenants</span>}
      </td>
      <td>
        {user.has_password && <span className="cell-note">password</span>}
        {user.oidc_issuer && <span className="cell-note">{user.oidc_issuer}</span>}
      </td>
      <td>
        <When at={user.last_login_at} none="never" />
      </td>
      <td>
        <span className="state" data-state={user.disabled ? "revoked" : "active"}>
          {user.disabled ? "disabled" : "active"}
        </span>
      </td>
      <td className="actions">
        {action("edit", "Change", "Change")}
        {action("password", "Password", "Set the password of")}
        {action("delete", "Delete", "Delete")}
      </td>
    </tr>
  );
}

/** The people of a tenant. */
export function Users(): React.JSX.Element {
  const client = useQueryClient();
  const [window, setWindow] = useState<Window | undefined>(undefined);
  const [outcome, setOutcome] = useState("");
  const users = useQuery({ queryKey: ["users"], queryFn: ({ signal }) => listUsers(signal) });
  const close = (): void => setWindow(undefined);
  const done = (text: string): void => {
    setOutcome(text);
    close();
    void client.invalidateQueries({ queryKey: ["users"] });
  };
  const list = users.data ?? [];
  return (
    <>
      <div className="admin-tools">
        <Button
          size="xs"
          leftSection={<PlusIcon size={14} />}
          onClick={() => setWindow({ kind: "create" })}
        >
          New user
        </Button>
      </div>
      <Outcome text={outcome} />
      <ListState
        query={users}
        count={list.length}
        empty="No users yet. Users log in on this page with a password or at an identity provider."
      >
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Role</th>
                <th scope="col">Logs in with</th>
                <th scope="col">Last login</th>
                <th scope="col">State</th>
                <th scope="col">
                  <span className="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((user) => (
                <Row key={user.id} user={user} onOpen={setWindow} />
              ))}
            </tbody>
          </table>
        </div>
      </ListState>
      <Dialog
        opened={window !== undefined}
        title={window ? TITLES[window.kind] : ""}
        onClose={close}
      >
        {window?.kind === "create" && <UserForm onCancel={close} onDone={done} />}
        {window?.kind === "edit" && <UserForm user={window.user} onCancel={close} onDone={done} />}
        {window?.kind === "password" && (
          <PasswordForm user={window.user} onCancel={close} onDone={done} />
        )}
        {window?.kind === "delete" && (
          <DialogForm
            action="Delete the user"
            danger
            onCancel={close}
            onSubmit={async () => {
              await deleteUser(window.user.id);
              done(`${window.user.name} was deleted.`);
            }}
          >
            <p>
              <strong>{window.user.name}</strong> cannot log in any more. What they did stays in the
              audit log.
            </p>
          </DialogForm>
        )}
      </Dialog>
    </>
  );
}
