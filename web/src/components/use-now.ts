import { useEffect, useState } from "react";
import { serverNow } from "../api/clock";

/** Returns the server's present time, and renders again each second. */
export function useNow(): number {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
