import { useInfiniteQuery } from "@tanstack/react-query";
import { deadLetters } from "../api/events";
import type { DeadLetter, DeadLetterDepth } from "../api/types";

export const LETTERS_KEY = "dead-letters";
/** How often it is looked for new letters, while only the first page is shown. */
const LOOK_EVERY_MS = 5_000;

/** Returns the dead letters of a consumer, page by page; an empty consumer is all of them. */
export function useLetters(consumer: string) {
  const pages = useInfiniteQuery({
    queryKey: [LETTERS_KEY, consumer],
    queryFn: ({ pageParam, signal }) => deadLetters(consumer, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => (page.more ? (page.letters.at(-1)?.id ?? null) : null),
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 1) > 1 ? false : LOOK_EVERY_MS),
  });
  const letters: DeadLetter[] = pages.data?.pages.flatMap((page) => page.letters) ?? [];
  // The latest page knows best how many there are.
  const depths: DeadLetterDepth[] = pages.data?.pages.at(-1)?.depths ?? [];
  return { pages, letters, depths };
}
