import { ActionIcon, Kbd, Modal, Table, Tooltip, useMantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState, useSyncExternalStore } from "react";
import { health, serverVersion } from "../api/client";
import { connection, subscribeConnection } from "../api/connection";
import { may } from "../lib/session";
import {
  ADMIN_PATH,
  DEAD_LETTERS_PATH,
  EVENTS_PATH,
  EXPLORE_PATH,
  isBelow,
  OVERVIEW_PATH,
  PULLS_PATH,
  SERVER_PATH,
} from "../lib/views";
import { Account } from "./account";
import {
  AdminIcon,
  AutoIcon,
  DeadLettersIcon,
  EventsIcon,
  ExploreIcon,
  KeyboardIcon,
  LogoIcon,
  MoonIcon,
  OverviewIcon,
  PullsIcon,
  ServerIcon,
  SunIcon,
} from "./icons";
import { navigate } from "./router";
import { useSession } from "./session";

interface ShellProps {
  path: string;
  children: React.ReactNode;
}

interface NavLinkProps {
  href: string;
  active: boolean;
  testId: string;
  icon: React.ReactNode;
  children: string;
}

/** Follows a link within the page, unless the browser should open it elsewhere. */
export function followLink(event: React.MouseEvent<HTMLAnchorElement>): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button !== 0)
    return;
  event.preventDefault();
  const { pathname, search } = new URL(event.currentTarget.href);
  navigate(pathname + search);
}

function NavLink({ href, active, testId, icon, children }: NavLinkProps): React.JSX.Element {
  return (
    <a
      href={href}
      className="nav-link"
      title={children}
      data-testid={testId}
      aria-current={active ? "page" : undefined}
      onClick={followLink}
    >
      {icon}
      <span>{children}</span>
    </a>
  );
}

const NEXT_THEME = { auto: "light", light: "dark", dark: "auto" } as const;
const THEME_NAMES = { auto: "as the system", light: "light", dark: "dark" } as const;
const THEME_ICONS = { auto: AutoIcon, light: SunIcon, dark: MoonIcon } as const;

function ThemeToggle(): React.JSX.Element {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Icon = THEME_ICONS[colorScheme];
  const next = NEXT_THEME[colorScheme];
  return (
    <Tooltip label={`Theme: ${THEME_NAMES[colorScheme]}. Switch to ${THEME_NAMES[next]} (t)`}>
      <ActionIcon
        variant="subtle"
        color="gray"
        data-testid="theme-toggle"
        data-theme-choice={colorScheme}
        aria-label={`Theme: ${THEME_NAMES[colorScheme]}`}
        onClick={() => setColorScheme(next)}
      >
        <Icon size={18} />
      </ActionIcon>
    </Tooltip>
  );
}

const CONNECTION_TEXT = {
  connecting: "Connecting",
  connected: "Connected",
  disconnected: "Disconnected",
} as const;

function ConnectionState(): React.JSX.Element {
  const state = useSyncExternalStore(subscribeConnection, connection);
  const { data } = useQuery({
    queryKey: ["health"],
    queryFn: ({ signal }) => health(signal),
    refetchInterval: 5_000,
    retry: false,
  });
  const version = useQuery({
    queryKey: ["version"],
    queryFn: ({ signal }) => serverVersion(signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const degraded = state === "connected" && data !== undefined && data.status !== "healthy";
  const text = degraded ? "Degraded" : CONNECTION_TEXT[state];
  const details = [
    state === "disconnected" ? "The server does not answer; trying again." : "",
    ...(degraded ? (data.problems ?? []) : []),
    version.data ? `TinyObs ${version.data}` : "",
  ].filter((line) => line !== "");
  return (
    <Tooltip label={details.join(" · ") || text} multiline maw={320}>
      <span
        className="connection"
        data-state={degraded ? "degraded" : state}
        data-testid="connection"
        role="status"
      >
        <span className="connection-dot" />
        <span className="connection-text">{text}</span>
      </span>
    </Tooltip>
  );
}

const SHORTCUTS: [string[], string][] = [
  [["g", "o"], "Go to Overview"],
  [["g", "e"], "Go to Explore"],
  [["g", "v"], "Go to Events"],
  [["g", "d"], "Go to Dead letters"],
  [["g", "p"], "Go to Pulls"],
  [["g", "s"], "Go to Server"],
  [["g", "a"], "Go to Administration"],
  [["/"], "Write a query"],
  [["Ctrl", "Enter"], "Run the queries"],
  [["t"], "Switch the theme"],
  [["?"], "Show these shortcuts"],
];

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** How long the second key of a pair may take. */
const SEQUENCE_MS = 1_000;

function useShortcuts(showHelp: () => void): void {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  useEffect(() => {
    let goAt = Number.NEGATIVE_INFINITY;
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const going = event.timeStamp - goAt < SEQUENCE_MS;
      goAt = Number.NEGATIVE_INFINITY;
      if (event.key === "g") goAt = event.timeStamp;
      else if (going && event.key === "o") navigate(OVERVIEW_PATH);
      else if (going && event.key === "e") navigate(EXPLORE_PATH);
      else if (going && event.key === "v") navigate(EVENTS_PATH);
      else if (going && event.key === "d") navigate(DEAD_LETTERS_PATH);
      else if (going && event.key === "p") navigate(PULLS_PATH);
      else if (going && event.key === "s") navigate(SERVER_PATH);
      else if (going && event.key === "a") navigate(ADMIN_PATH);
      else if (event.key === "t") setColorScheme(NEXT_THEME[colorScheme]);
      else if (event.key === "?") showHelp();
      else if (event.key === "/") {
        event.preventDefault();
        if (window.location.pathname !== EXPLORE_PATH) navigate(EXPLORE_PATH);
        document.querySelector<HTMLElement>(".cm-content")?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [colorScheme, setColorScheme, showHelp]);
}

/** The frame of every view: name, navigation, state of the connection, theme. */
export function Shell({ path, children }: ShellProps): React.JSX.Element {
  const [helpOpen, setHelpOpen] = useState(false);
  useShortcuts(() => setHelpOpen(true));
  const { session } = useSession();
  const explore = path === EXPLORE_PATH;
  const events = path === EVENTS_PATH;
  const letters = path === DEAD_LETTERS_PATH;
  const pulls = isBelow(path, PULLS_PATH);
  const server = path === SERVER_PATH;
  const admin = isBelow(path, ADMIN_PATH);
  return (
    <>
      <a className="skip-link" href="#content">
        Skip to the content
      </a>
      <header className="header">
        <a href={OVERVIEW_PATH} className="brand" aria-label="TinyObs" onClick={followLink}>
          <LogoIcon />
          <span>TinyObs</span>
        </a>
        <nav className="nav" aria-label="Views">
          <NavLink
            href={OVERVIEW_PATH}
            active={!explore && !events && !letters && !pulls && !server && !admin}
            testId="nav-overview"
            icon={<OverviewIcon />}
          >
            Overview
          </NavLink>
          <NavLink href={EXPLORE_PATH} active={explore} testId="nav-explore" icon={<ExploreIcon />}>
            Explore
          </NavLink>
          {may(session, "events:read") && (
            <>
              <NavLink href={EVENTS_PATH} active={events} testId="nav-events" icon={<EventsIcon />}>
                Events
              </NavLink>
              <NavLink
                href={DEAD_LETTERS_PATH}
                active={letters}
                testId="nav-dead-letters"
                icon={<DeadLettersIcon />}
              >
                Dead letters
              </NavLink>
            </>
          )}
          {may(session, "pulls:read") && (
            <NavLink href={PULLS_PATH} active={pulls} testId="nav-pulls" icon={<PullsIcon />}>
              Pulls
            </NavLink>
          )}
          <NavLink href={SERVER_PATH} active={server} testId="nav-server" icon={<ServerIcon />}>
            Server
          </NavLink>
          {may(session, "admin") && (
            <NavLink href={ADMIN_PATH} active={admin} testId="nav-admin" icon={<AdminIcon />}>
              Administration
            </NavLink>
          )}
        </nav>
        <div className="header-end">
          <ConnectionState />
          <Tooltip label="Keyboard shortcuts (?)">
            <ActionIcon
              className="wide-only"
              variant="subtle"
              color="gray"
              aria-label="Keyboard shortcuts"
              onClick={() => setHelpOpen(true)}
            >
              <KeyboardIcon size={18} />
            </ActionIcon>
          </Tooltip>
          <ThemeToggle />
          <Account />
        </div>
      </header>
      <main id="content" className="content">
        {children}
      </main>
      <Modal
        opened={helpOpen}
        onClose={() => setHelpOpen(false)}
        title="Keyboard shortcuts"
        closeButtonProps={{ "aria-label": "Close" }}
        centered
        lockScroll={false}
      >
        <Table withRowBorders={false} verticalSpacing={4}>
          <Table.Tbody>
            {SHORTCUTS.map(([keys, action]) => (
              <Table.Tr key={action}>
                <Table.Td>{action}</Table.Td>
                <Table.Td ta="right">
                  {keys.map((key) => (
                    <Kbd key={key} ml={4}>
                      {key}
                    </Kbd>
                  ))}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Modal>
    </>
  );
}
