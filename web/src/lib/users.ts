/** The roles, the mightiest first, with what they may do. */
export const ROLES: { value: string; about: string }[] = [
  { value: "admin", about: "everything" },
  { value: "editor", about: "reads, sends, changes rules and dashboards" },
  { value: "viewer", about: "reads" },
  { value: "ingest", about: "sends metrics and events, reads nothing" },
  { value: "agent", about: "reports image pulls, reads nothing" },
];

/** The shortest password that the server takes. */
export const PASSWORD_CHARS_MIN = 8;
/** The longest password that the server takes. */
export const PASSWORD_CHARS_MAX = 256;

/** Returns why a password cannot be chosen, or undefined. */
export function passwordProblem(password: string): string | undefined {
  const chars = [...password].length;
  if (chars < PASSWORD_CHARS_MIN) return `at least ${PASSWORD_CHARS_MIN} characters`;
  if (chars > PASSWORD_CHARS_MAX) return `at most ${PASSWORD_CHARS_MAX} characters`;
  return undefined;
}

/** Returns the choices of a role for a select. */
export function roleChoices(): { value: string; label: string }[] {
  return ROLES.map(({ value, about }) => ({ value, label: `${value}: ${about}` }));
}
