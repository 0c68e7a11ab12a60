/** Icons, drawn by the page itself so that none is loaded. Decorative: their buttons carry the name. */

interface IconProps {
  size?: number;
}

function Icon({ size = 16, children }: IconProps & { children: React.ReactNode }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const LogoIcon = ({ size = 22 }: IconProps): React.JSX.Element => (
  <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" fill="var(--brand)" />
    <path
      d="M5 19h5l3-9 5 14 3.5-9H27"
      fill="none"
      stroke="#fff"
      strokeWidth="2.6"
      strokeLinecap="round"
      strokeLinejoin="round"
    />
  </svg>
);
export const OverviewIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M4 20V10m5.5 10V4M15 20v-7m5 7V8" />
  </Icon>
);
export const ExploreIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m20 20-4-4" />
  </Icon>
);
export const SunIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4m11.2 11.2L19 19M5 19l1.4-1.4M17.6 6.4 19 5" />
  </Icon>
);
export const MoonIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5Z" />
  </Icon>
);
export const AutoIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M12 3.5v17a8.5 8.5 0 0 0 0-17Z" fill="currentColor" />
  </Icon>
);
export const KeyboardIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <rect x="2.5" y="6" width="19" height="12" rx="2" />
    <path d="M6.5 10h.01M10.5 10h.01M14.5 10h.01M18 10h.01M8 14h8" />
  </Icon>
);
export const PlayIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M7 4.5v15l12-7.5Z" fill="currentColor" />
  </Icon>
);
export const PlusIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const CloseIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M6 6l12 12M18 6 6 18" />
  </Icon>
);
export const EyeIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M2 12s3.5-7 10-7 10 7 10 7-3.5 7-10 7S2 12 2 12Z" />
    <circle cx="12" cy="12" r="3" />
  </Icon>
);
export const EyeOffIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M10 5.3A9.6 9.6 0 0 1 12 5c6.5 0 10 7 10 7a17 17 0 0 1-3 3.9M6.5 6.6A16.5 16.5 0 0 0 2 12s3.5 7 10 7a9.7 9.7 0 0 0 5-1.500M3 3l18 18M10 10a3 3 0 0 0 4.2 4.2" />
  </Icon>
);
export const HistoryIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M3.5 12a8.5 8.5 0 1 0 2.7-6.200L3.5 8.300M3.5 3.500v5h5M12 7.500V12l3 2" />
  </Icon>
);
export const LeftIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="m14.5 6-6 6 6 6" />
  </Icon>
);
export const RightIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="m9.5 6 6 6-6 6" />
  </Icon>
);
export const DownIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="m6 9.5 6 6 6-6" />
  </Icon>
);
export const ZoomOutIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m20 20-4-4M8.5 11h5" />
  </Icon>
);
export const ClockIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M12 7.500V12l3 2" />
  </Icon>
);
export const ListIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01" />
  </Icon>
);
export const LinkIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M10 14a4 4 0 0 0 6 .4l3-3A4 4 0 0 0 13.4 5.600L12 7m2 3a4 4 0 0 0-6-.4l-3 3A4 4 0 0 0 10.6 18.400L12 17" />
  </Icon>
);
export const ServerIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <rect x="3" y="4" width="18" height="7" rx="2" />
    <rect x="3" y="13" width="18" height="7" rx="2" />
    <path d="M7 7.5h.01M7 16.5h.01" />
  </Icon>
);
export const AdminIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M12 3 4.500 6v5.500c0 4.500 3 8 7.500 9.500 4.500-1.500 7.500-5 7.500-9.500V6Z" />
  </Icon>
);
export const UserIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <circle cx="12" cy="8" r="4" />
    <path d="M4 20.500a8 8 0 0 1 16 0" />
  </Icon>
);
export const CheckIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="m5 12.500 4.500 4.500L19 7.500" />
  </Icon>
);
export const WarningIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M12 4 2.500 20h19ZM12 10v4.500M12 17.200h.01" />
  </Icon>
);
export const CopyIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <rect x="8.500" y="8.500" width="12" height="12" rx="2" />
    <path d="M15.500 5.500v-1a1.500 1.500 0 0 0-1.500-1.500H5A1.500 1.500 0 0 0 3.500 4.500v9A1.500 1.500 0 0 0 5 15h.500" />
  </Icon>
);
export const EventsIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M4 6h3m4 0h9M4 12h3m4 0h9M4 18h3m4 0h5" />
  </Icon>
);
export const DeadLettersIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <rect x="3" y="5.500" width="18" height="13" rx="2" />
    <path d="m9.500 9.500 5 5m0-5-5 5" />
  </Icon>
);
export const PullsIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M12 3.500v9m-3.500-3.500 3.500 3.500 3.500-3.500M4 14.500v3.500a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3.500" />
  </Icon>
);
export const PauseIcon = ({ size }: IconProps) => (
  <Icon size={size}>
    <path d="M8.500 5v14M15.500 5v14" />
  </Icon>
);
