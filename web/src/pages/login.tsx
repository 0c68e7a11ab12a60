import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { logIn } from "../api/session";
import type { Session } from "../api/types";
import { LogoIcon } from "../components/icons";
import { providerError, providerHref, wantedPath } from "../lib/session";

interface LoginProps {
  session: Session;
  /** Whether somebody was logged in before on this page. */
  ended: boolean;
  onEnter: (session: Session) => void;
}

function PasswordForm({ onEnter }: Pick<LoginProps, "onEnter">): React.JSX.Element {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const secret = useRef<HTMLInputElement>(null);

  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError("");
    try {
      onEnter(await logIn(name.trim(), password));
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
      setBusy(false);
      secret.current?.select();
    }
  };
  return (
    <form className="form" onSubmit={(event) => void submit(event)}>
      <TextInput
        label="Name"
        name="username"
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        required
        withAsterisk={false}
        autoFocus
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <PasswordInput
        ref={secret}
        label="Password"
        name="password"
        autoComplete="current-password"
        required
        withAsterisk={false}
        value={password}
        onChange={(event) => setPassword(event.currentTarget.value)}
      />
      {error !== "" && (
        <div className="notice error" role="alert" data-testid="login-error">
          {error}
        </div>
      )}
      <Button type="submit" loading={busy} disabled={name.trim() === "" || password === ""}>
        Log in
      </Button>
    </form>
  );
}

/** Asks who somebody is. The address stays that of the view that was wanted. */
export function Login({ session, ended, onEnter }: LoginProps): React.JSX.Element {
  useEffect(() => {
    document.title = "Log in · TinyObs";
  }, []);
  const byPassword = session.logins.some((login) => login.kind === "password");
  const provider = session.logins.find((login) => login.kind === "oidc");
  const refused = providerError(window.location);
  return (
    <main className="entrance">
      <div className="entrance-box">
        <div className="entrance-head">
          <LogoIcon size={32} />
          <h1>Log in to TinyObs</h1>
        </div>
        {ended && (
          <div className="notice" role="status">
            Your session has ended. Log in again to go on where you were.
          </div>
        )}
        {refused !== undefined && (
          <div className="notice error" role="alert">
            {refused}
          </div>
        )}
        {byPassword && <PasswordForm onEnter={onEnter} />}
        {provider && (
          <Button
            component="a"
            href={providerHref(wantedPath(window.location))}
            variant={byPassword ? "default" : "filled"}
            fullWidth
            mt={byPassword ? 10 : 0}
            data-testid="login-oidc"
          >
            Log in with {provider.name}
          </Button>
        )}
        {!byPassword && !provider && (
          <p className="subtle">
            This server takes API keys only: it has no users with a password and no identity
            provider. Make a user with <code>tinyobs users</code> or the API, then load this page
            again.
          </p>
        )}
      </div>
    </main>
  );
}
