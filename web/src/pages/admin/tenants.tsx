import { Button, Checkbox, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { createTenant, listTenants, updateTenant } from "../../api/admin";
import type { Tenant } from "../../api/types";
import { Dialog, DialogForm } from "../../components/dialog";
import { PlusIcon } from "../../components/icons";
import { LimitsFields } from "../../components/limits-fields";
import { ListState } from "../../components/list-state";
import { Outcome } from "../../components/outcome";
import { When } from "../../components/when";
import { formatNumber } from "../../lib/format";
import { limitOf, limitsOf, limitsReady, limitTexts, TENANT_LIMITS } from "../../lib/limits";

/** What the server takes as the name of a tenant. */
const TENANT_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

interface FormProps {
  /** The tenant that changes; a new one without it. */
  tenant?: Tenant;
  onCancel: () => void;
  onDone: (outcome: string) => void;
}

function TenantForm({ tenant, onCancel, onDone }: FormProps): React.JSX.Element {
  const [id, setId] = useState("");
  const [displayName, setDisplayName] = useState(tenant?.display_name ?? "");
  const [disabled, setDisabled] = useState(tenant?.disabled ?? false);
  const [texts, setTexts] = useState(() => limitTexts(TENANT_LIMITS, tenant?.limits ?? {}));
  const valid = tenant !== undefined || TENANT_ID.test(id);
  const problem = valid || id === "" ? undefined : "letters, digits, _ . and -, at most 64";

  const submit = async (): Promise<void> => {
    const shownName = displayName.trim();
    const named = shownName === "" ? {} : { display_name: shownName };
    const common = { ...named, limits: limitsOf(TENANT_LIMITS, texts) };
    if (tenant) await updateTenant(tenant.id, { ...common, disabled });
    else await createTenant({ ...common, id });
    onDone(tenant ? `${tenant.id} was changed.` : `${id} was created.`);
  };
  return (
    <DialogForm
      action={tenant ? "Save" : "Create the tenant"}
      ready={valid && limitsReady(TENANT_LIMITS, texts)}
      onCancel={onCancel}
      onSubmit={submit}
    >
      {!tenant && (
        <TextInput
          label="Identifier"
          description="Stays for ever; it is sent as X-Scope-OrgID and is part of paths on disk."
          data-autofocus
          autoComplete="off"
          autoCapitalize="none"
          value={id}
          error={problem}
          onChange={(event) => setId(event.currentTarget.value)}
        />
      )}
      <TextInput
        label="Shown name"
        autoComplete="off"
        data-autofocus={tenant !== undefined || undefined}
        value={displayName}
        onChange={(event) => setDisplayName(event.currentTarget.value)}
      />
      {tenant && (
        <Checkbox
          size="xs"
          label="Disabled: keys and users of it are refused, its data stays"
          checked={disabled}
          onChange={(event) => setDisabled(event.currentTarget.checked)}
        />
      )}
      <fieldset className="checks">
        <legend>Limits</legend>
        <LimitsFields fields={TENANT_LIMITS} texts={texts} scope="tenant" onChange={setTexts} />
      </fieldset>
    </DialogForm>
  );
}

function limitList(tenant: Tenant): string {
  const set = TENANT_LIMITS.flatMap(({ key, label }) => {
    const value = limitOf(tenant.limits, key);
    return value === null ? [] : [`${label.toLowerCase()} ${formatNumber(value, "short")}`];
  });
  return set.join(", ");
}

type Window = { kind: "create" } | { kind: "edit"; tenant: Tenant };

/** All tenants of the server, and what each may use. */
export function Tenants(): React.JSX.Element {
  const client = useQueryClient();
  const [window, setWindow] = useState<Window | undefined>(undefined);
  const [outcome, setOutcome] = useState("");
  const tenants = useQuery({ queryKey: ["tenants"], queryFn: ({ signal }) => listTenants(signal) });
  const close = (): void => setWindow(undefined);
  const done = (text: string): void => {
    setOutcome(text);
    close();
    void client.invalidateQueries({ queryKey: ["tenants"] });
  };
  const list = tenants.data ?? [];
  return (
    <>
      <div className="admin-tools">
        <Button
          size="xs"
          leftSection={<PlusIcon size={14} />}
          onClick={() => setWindow({ kind: "create" })}
        >
          New tenant
        </Button>
      </div>
      <Outcome text={outcome} />
      <ListState query={tenants} count={list.length} empty="No tenants.">
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Tenant</th>
                <th scope="col">Own limits</th>
                <th scope="col">Created</th>
                <th scope="col">State</th>
                <th scope="col">
                  <span className="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((tenant) => (
                <tr key={tenant.id} data-testid="tenant">
                  <th scope="row">
                    {tenant.id}
                    {tenant.display_name !== tenant.id && (
                      <span className="cell-note">{tenant.display_name}</span>
                    )}
                  </th>
                  <td className="cell-wide">
                    {limitList(tenant) || <span className="subtle">server's defaults</span>}
                  </td>
                  <td>
                    <When at={tenant.created_at} none="unknown" />
                  </td>
                  <td>
                    <span className="state" data-state={tenant.disabled ? "revoked" : "active"}>
                      {tenant.disabled ? "disabled" : "active"}
                    </span>
                  </td>
                  <td className="actions">
                    <Button
                      size="compact-xs"
                      variant="subtle"
                      aria-label={`Change ${tenant.id}`}
                      onClick={() => setWindow({ kind: "edit", tenant })}
                    >
                      Change
                    </Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </ListState>
      <Dialog
        opened={window !== undefined}
        title={window?.kind === "edit" ? `Change ${window.tenant.id}` : "New tenant"}
        size="lg"
        onClose={close}
      >
        {window?.kind === "create" && <TenantForm onCancel={close} onDone={done} />}
        {window?.kind === "edit" && (
          <TenantForm tenant={window.tenant} onCancel={close} onDone={done} />
        )}
      </Dialog>
    </>
  );
}
