/** What a piece of JSON is. */
export type TokenKind = "name" | "string" | "number" | "word" | "plain";

/** A piece of JSON text. */
export interface Token {
  kind: TokenKind;
  text: string;
}

/** Longer texts are shown without colours, in characters. */
export const COLORED_CHARS_MAX = 131_072;

const PATTERN =
  /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Returns the pieces of a JSON text; together they are the text. */
export function jsonTokens(text: string): Token[] {
  if (text.length > COLORED_CHARS_MAX) return [{ kind: "plain", text }];
  const tokens: Token[] = [];
  let end = 0;
  for (const match of text.matchAll(PATTERN)) {
    if (match.index > end) tokens.push({ kind: "plain", text: text.slice(end, match.index) });
    const [whole, quoted, colon] = match;
    if (quoted !== undefined) {
      tokens.push({ kind: colon === undefined ? "string" : "name", text: quoted });
      if (colon !== undefined) tokens.push({ kind: "plain", text: colon });
    } else tokens.push({ kind: /^[tfn]/.test(whole) ? "word" : "number", text: whole });
    end = match.index + whole.length;
  }
  if (end < text.length) tokens.push({ kind: "plain", text: text.slice(end) });
  return tokens;
}
