import { Button, Modal } from "@mantine/core";
import { useState } from "react";

interface DialogProps {
  opened: boolean;
  title: string;
  onClose: () => void;
  /** Stays open until a button is pressed: what it shows cannot be shown again. */
  sticky?: boolean;
  size?: string;
  children: React.ReactNode;
}

/** A window above the page. The focus goes into it, and back to where it came from. */
export function Dialog(props: DialogProps): React.JSX.Element {
  const { opened, title, onClose, sticky = false, size = "md", children } = props;
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={title}
      size={size}
      centered
      lockScroll={false}
      closeOnClickOutside={!sticky}
      closeOnEscape={!sticky}
      withCloseButton={!sticky}
      closeButtonProps={{ "aria-label": "Close" }}
      transitionProps={{ duration: 0 }}
    >
      {children}
    </Modal>
  );
}

interface DialogFormProps {
  /** What the button says that does it. */
  action: string;
  danger?: boolean;
  /** Whether the fields are filled in. */
  ready?: boolean;
  onCancel: () => void;
  /** Does it; what it throws is shown. */
  onSubmit: () => Promise<void>;
  children: React.ReactNode;
}

/** A form in a dialog: its fields, what went wrong, and the buttons. */
export function DialogForm(props: DialogFormProps): React.JSX.Element {
  const { action, danger = false, ready = true, onCancel, onSubmit, children } = props;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const submit = async (event: React.FormEvent): Promise<void> => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setError("");
    try {
      await onSubmit();
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="form" onSubmit={(event) => void submit(event)}>
      {children}
      {error !== "" && (
        <div className="notice error" role="alert">
          {error}
        </div>
      )}
      <div className="form-actions">
        <Button variant="default" onClick={onCancel}>
          Cancel
        </Button>
        <Button
          type="submit"
          color={danger ? "red" : "brand"}
          loading={busy}
          disabled={!ready}
          data-autofocus={danger || undefined}
        >
          {action}
        </Button>
      </div>
    </form>
  );
}
