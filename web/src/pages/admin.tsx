import { useSession } from "../components/session";
import { followLink } from "../components/shell";
import { managesServer, may } from "../lib/session";
import { ADMIN_SECTIONS, adminHref, adminSection } from "../lib/views";
import { Audit } from "./admin/audit";
import { Configuration } from "./admin/configuration";
import { HealthChecks } from "./admin/health";
import { Keys } from "./admin/keys";
import { Tenants } from "./admin/tenants";
import { UsageOfTenant } from "./admin/usage";
import { Users } from "./admin/users";

const PARTS: Record<string, () => React.JSX.Element> = {
  keys: Keys,
  users: Users,
  tenants: Tenants,
  usage: UsageOfTenant,
  audit: Audit,
  configuration: Configuration,
  health: HealthChecks,
};

/** Everything that administrators do, one part at a time. */
export default function Admin({ path }: { path: string }): React.JSX.Element {
  const { session, tenant } = useSession();
  const shown = ADMIN_SECTIONS.filter((section) => !section.server || managesServer(session));
  const section = adminSection(path, shown);
  const Part = section && PARTS[section.id];
  if (!may(session, "admin") || !section || !Part) {
    return (
      <p className="empty">
        {session.caller?.name} is no administrator: ask one for the role <code>admin</code>.
      </p>
    );
  }
  return (
    <div className="admin">
      <nav className="admin-nav" aria-label="Administration">
        {shown.map(({ id, name }) => (
          <a
            key={id}
            href={adminHref(id)}
            data-testid={`admin-${id}`}
            aria-current={id === section.id ? "page" : undefined}
            onClick={followLink}
          >
            {name}
          </a>
        ))}
      </nav>
      <section className="admin-part" aria-labelledby="admin-title">
        <div className="bar">
          <h1 className="title" id="admin-title">
            {section.name}
          </h1>
          {!section.server && section.id !== "health" && (
            <span className="subtle">Tenant {tenant}</span>
          )}
        </div>
        <Part />
      </section>
    </div>
  );
}
