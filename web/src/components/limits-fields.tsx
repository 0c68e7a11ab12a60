import { TextInput } from "@mantine/core";
import { type LimitField, type LimitTexts, limitProblem } from "../lib/limits";

interface LimitsFieldsProps {
  fields: LimitField[];
  texts: LimitTexts;
  /** What holds where a field is empty. */
  placeholder: string;
  onChange: (texts: LimitTexts) => void;
}

/** Fields for limits; what stays empty is not limited here. */
export function LimitsFields(props: LimitsFieldsProps): React.JSX.Element {
  const { fields, texts, placeholder, onChange } = props;
  return (
    <div className="limits">
      {fields.map((field) => (
        <TextInput
          key={field.key}
          size="xs"
          label={field.label}
          inputMode="decimal"
          placeholder={placeholder}
          value={texts[field.key] ?? ""}
          error={limitProblem(field, texts[field.key] ?? "")}
          onChange={(event) => onChange({ ...texts, [field.key]: event.currentTarget.value })}
        />
      ))}
    </div>
  );
}
