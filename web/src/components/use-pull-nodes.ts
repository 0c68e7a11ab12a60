import { useQuery } from "@tanstack/react-query";
import { pullNodes } from "../api/pulls";

const LOOK_EVERY_MS = 2_000;

/** Returns the nodes whose agents have reported. */
export function usePullNodes() {
  return useQuery({
    queryKey: ["pull-nodes"],
    queryFn: ({ signal }) => pullNodes(signal),
    refetchInterval: LOOK_EVERY_MS,
  });
}
