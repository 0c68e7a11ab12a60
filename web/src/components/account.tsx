import { Button, Menu, PasswordInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { listTenants } from "../api/admin";
import { changePassword } from "../api/session";
import { kindName, managesServer, openNotice } from "../lib/session";
import { PASSWORD_CHARS_MIN, passwordProblem } from "../lib/users";
import { Dialog, DialogForm } from "./dialog";
import { CheckIcon, DownIcon, UserIcon, WarningIcon } from "./icons";
import { useSession } from "./session";

function ChangePassword({ onClose }: { onClose: () => void }): React.JSX.Element {
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const problem = passwordProblem(next);
  const differs = again !== "" && again !== next ? "this is not the same" : undefined;
  return (
    <DialogForm
      action="Change the password"
      ready={old !== "" && next !== "" && !problem && again === next}
      onCancel={onClose}
      onSubmit={async () => {
        await changePassword(old, next);
        onClose();
      }}
    >
      <PasswordInput
        label="Present password"
        autoComplete="current-password"
        data-autofocus
        value={old}
        onChange={(event) => setOld(event.currentTarget.value)}
      />
      <PasswordInput
        label="New password"
        description={`At least ${PASSWORD_CHARS_MIN} characters.`}
        autoComplete="new-password"
        value={next}
        error={next === "" ? undefined : problem}
        onChange={(event) => setNext(event.currentTarget.value)}
      />
      <PasswordInput
        label="New password again"
        autoComplete="new-password"
        value={again}
        error={differs}
        onChange={(event) => setAgain(event.currentTarget.value)}
      />
    </DialogForm>
  );
}

/** The tenants to choose from, as items of a menu. */
function Tenants(): React.JSX.Element | null {
  const { session, tenant, switchTenant } = useSession();
  const tenants = useQuery({
    queryKey: ["tenants"],
    queryFn: ({ signal }) => listTenants(signal),
    enabled: managesServer(session),
  });
  const ids = (tenants.data ?? []).filter((each) => !each.disabled).map((each) => each.id);
  if (ids.length < 2) return null;
  return (
    <>
      <Menu.Divider />
      <Menu.Label>Tenant</Menu.Label>
      <div className="account-tenants">
        {ids.map((id) => (
          <Menu.Item
            key={id}
            aria-current={id === tenant ? "true" : undefined}
            leftSection={id === tenant ? <CheckIcon size={14} /> : <span className="icon-place" />}
            onClick={() => switchTenant(id)}
          >
            {id}
          </Menu.Item>
        ))}
      </div>
    </>
  );
}

/** Who uses the page, for which tenant, and how to leave; where nobody is asked, that this is so. */
export function Account(): React.JSX.Element {
  const { session, tenant, logOut } = useSession();
  const [changing, setChanging] = useState(false);
  const [error, setError] = useState("");
  const { caller } = session;
  const open = openNotice(session, window.location.hostname);
  const name = open?.title ?? caller?.name ?? "";
  const foreign = tenant !== caller?.tenant;
  const leave = (): void => {
    logOut().catch((reason: unknown) => {
      setError(reason instanceof Error ? reason.message : String(reason));
    });
  };
  return (
    <>
      <Menu position="bottom-end" shadow="md" width={260}>
        <Menu.Target>
          <Button
            variant="subtle"
            color={open?.exposed ? "orange" : "gray"}
            size="compact-sm"
            className="account"
            data-open={open !== undefined}
            data-testid="account"
            aria-label={`Account: ${name}${foreign ? `, tenant ${tenant}` : ""}`}
            leftSection={open?.exposed ? <WarningIcon /> : <UserIcon />}
            rightSection={<DownIcon size={12} />}
          >
            <span className="account-name">{foreign ? `${name} · ${tenant}` : name}</span>
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label className="account-about">
            <strong>{name}</strong>
            {open ? (
              <span>{open.text}</span>
            ) : (
              <>
                <span>Role: {caller?.role ?? kindName(caller?.kind ?? "")}</span>
                <span>Tenant: {tenant}</span>
              </>
            )}
          </Menu.Label>
          <Tenants />
          {caller?.kind === "user" && (
            <>
              <Menu.Divider />
              <Menu.Item onClick={() => setChanging(true)}>Change the password</Menu.Item>
              <Menu.Item data-testid="log-out" closeMenuOnClick={false} onClick={leave}>
                Log out
              </Menu.Item>
            </>
          )}
          {error !== "" && (
            <div className="notice error" role="alert">
              {error}
            </div>
          )}
        </Menu.Dropdown>
      </Menu>
      <Dialog opened={changing} title="Change the password" onClose={() => setChanging(false)}>
        <ChangePassword onClose={() => setChanging(false)} />
      </Dialog>
    </>
  );
}
