import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { newCompleteStrategy, PromQLExtension } from "@prometheus-io/codemirror-promql";
import {
  CachedPrometheusClient,
  HTTPPrometheusClient,
} from "@prometheus-io/codemirror-promql/dist/esm/client/prometheus.js";
import { useEffect, useRef } from "react";
import { identityHeaders } from "../api/identity";
import { styleNonce } from "./nonce";

interface QueryEditorProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  onRun: () => void;
  autoFocus: boolean;
}

/** How long names and labels for the completion are kept. */
const COMPLETION_MAX_AGE_MS = 60_000;

/** One source of names for all editors, so that each name is asked for once. */
const names = new CachedPrometheusClient(
  new HTTPPrometheusClient({
    url: "",
    httpMethod: "GET",
    httpErrorHandler: () => undefined,
    fetchFn: (input, options) =>
      fetch(input, { ...options, headers: identityHeaders(options?.method ?? "GET") }),
  }),
  { maxAge: COMPLETION_MAX_AGE_MS },
);

const colors = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--code-keyword)" },
  { tag: tags.operatorKeyword, color: "var(--code-keyword)" },
  { tag: tags.modifier, color: "var(--code-keyword)" },
  { tag: tags.operator, color: "var(--text-soft)" },
  { tag: tags.function(tags.variableName), color: "var(--code-function)" },
  { tag: tags.labelName, color: "var(--code-label)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: tags.number, color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--text-soft)", fontStyle: "italic" },
]);

function wave(color: string) {
  return { backgroundImage: "none", textDecoration: `underline wavy ${color} 1px` };
}

/** CodeMirror underlines with images in data: URLs, which the content security policy does not allow. */
const underlines = EditorView.theme({
  ".cm-lintRange-error": wave("var(--alarm)"),
  ".cm-lintRange-warning": wave("var(--warn)"),
  ".cm-lintRange-info": wave("var(--accent)"),
  ".cm-lintRange-hint": wave("var(--accent)"),
});

function extensions(label: string, run: () => void, change: (value: string) => void) {
  const promql = new PromQLExtension().setComplete({
    completeStrategy: newCompleteStrategy({ remote: names }),
  });
  const runKey = {
    key: "Mod-Enter",
    run: () => {
      run();
      return true;
    },
  };
  return [
    EditorView.cspNonce.of(styleNonce()),
    Prec.highest(keymap.of([runKey])),
    history(),
    bracketMatching(),
    closeBrackets(),
    autocompletion({ icons: false }),
    syntaxHighlighting(colors),
    underlines,
    promql.asExtension(),
    EditorView.lineWrapping,
    placeholder("PromQL, such as rate(http_requests_total[5m])"),
    EditorView.contentAttributes.of({ "aria-label": label, autocapitalize: "off" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) change(update.state.doc.toString());
    }),
    keymap.of([
      ...closeBracketsKeymap,
      ...completionKeymap,
      ...lintKeymap,
      ...historyKeymap,
      ...defaultKeymap,
    ]),
  ];
}

/** An editor for PromQL with completion of what the server knows. Loaded only when it is shown. */
export default function QueryEditor(props: QueryEditorProps): React.JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | undefined>(undefined);
  const latest = useRef(props);
  latest.current = props;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the value at the start; later ones are set below
  useEffect(() => {
    if (!host.current) return;
    const { label, value, autoFocus } = latest.current;
    const run = (): void => latest.current.onRun();
    const change = (text: string): void => latest.current.onChange(text);
    const state = EditorState.create({ doc: value, extensions: extensions(label, run, change) });
    const editor = new EditorView({ state, parent: host.current });
    view.current = editor;
    if (autoFocus) {
      editor.focus();
      editor.dispatch({ selection: { anchor: editor.state.doc.length } });
    }
    return () => {
      editor.destroy();
      view.current = undefined;
    };
  }, [props.label]);

  useEffect(() => {
    const editor = view.current;
    if (!editor || editor.state.doc.toString() === props.value) return;
    const whole = { from: 0, to: editor.state.doc.length, insert: props.value };
    editor.dispatch({ changes: whole, selection: { anchor: props.value.length } });
  }, [props.value]);

  return <div ref={host} className="query-editor-host" />;
}
