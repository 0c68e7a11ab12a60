import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, use, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { chooseTenant, chosenTenant, subscribeLoginNeeded, subscribeTenant } from "../api/identity";
import { loadSession, logOut } from "../api/session";
import type { Session } from "../api/types";
import { wantedPath } from "../lib/session";
import { Login } from "../pages/login";
import { LogoIcon } from "./icons";
import { navigate } from "./router";

/** Who uses the page, and for which tenant. */
export interface Current {
  session: Session;
  /** The tenant that is shown. */
  tenant: string;
  switchTenant: (id: string) => void;
  logOut: () => Promise<void>;
}

const SESSION_KEY = ["session"];
/** How long after a server that was not reached is asked again. */
const AGAIN_MS = 3_000;

const CurrentSession = createContext<Current | undefined>(undefined);

/** Returns who uses the page. Only below a `SessionGate`. */
export function useSession(): Current {
  const current = use(CurrentSession);
  if (!current) throw new Error("a component below the session's gate is used outside of it");
  return current;
}

/** The page before it knows what to show, and where the server cannot be reached. */
function Starting({ error }: { error: Error | null }): React.JSX.Element {
  return (
    <main className="entrance">
      <LogoIcon size={40} />
      <p role="status">
        {error ? `TinyObs does not answer: ${error.message}. Trying again.` : "Loading"}
      </p>
    </main>
  );
}

/**
 * Shows its children to those who may see them, the login to all others. The address stays what it
 * is: after the login, the view that was wanted is there.
 */
export function SessionGate({ children }: { children: React.ReactNode }): React.JSX.Element {
  const client = useQueryClient();
  const chosen = useSyncExternalStore(subscribeTenant, chosenTenant);
  const [ended, setEnded] = useState(false);
  const { data: session, error } = useQuery({
    queryKey: SESSION_KEY,
    queryFn: ({ signal }) => loadSession(signal),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: Number.POSITIVE_INFINITY,
    retry: false,
    refetchInterval: (query) => (query.state.data ? false : AGAIN_MS),
  });

  useEffect(() => {
    return subscribeLoginNeeded(() => {
      const known = client.getQueryData<Session>(SESSION_KEY);
      if (!known?.caller) return;
      const unknown = { login_needed: true, caller: null, csrf_token: null };
      client.setQueryData<Session>(SESSION_KEY, { ...known, ...unknown });
      setEnded(true);
    });
  }, [client]);

  const current = useMemo((): Current | undefined => {
    if (!session) return undefined;
    const forget = (): void => {
      client.removeQueries({ predicate: (query) => query.queryKey[0] !== SESSION_KEY[0] });
    };
    return {
      session,
      tenant: chosen ?? session.caller?.tenant ?? "",
      switchTenant: (id) => {
        chooseTenant(id === session.caller?.tenant ? null : id);
        forget();
      },
      logOut: async () => {
        await logOut();
        chooseTenant(null);
        const next = await loadSession();
        setEnded(false);
        client.setQueryData<Session>(SESSION_KEY, next);
        forget();
      },
    };
  }, [client, session, chosen]);

  if (!current) return <Starting error={error} />;
  if (current.session.login_needed) {
    const enter = (next: Session): void => {
      client.removeQueries({ predicate: (query) => query.queryKey[0] !== SESSION_KEY[0] });
      navigate(wantedPath(window.location), { replace: true });
      client.setQueryData<Session>(SESSION_KEY, next);
      setEnded(false);
    };
    return <Login session={current.session} ended={ended} onEnter={enter} />;
  }
  // Another tenant is another page: nothing of what the former one showed stays.
  return (
    <CurrentSession value={current} key={current.tenant}>
      {children}
    </CurrentSession>
  );
}
