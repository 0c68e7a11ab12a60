import { Button } from "@mantine/core";
import { Component } from "react";

interface ErrorBoundaryProps {
  children: React.ReactNode;
}

/** Says that a view has a mistake, instead of leaving the page empty. */
export class ErrorBoundary extends Component<ErrorBoundaryProps, { error: Error | undefined }> {
  override state: { error: Error | undefined } = { error: undefined };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): React.ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div className="notice error" role="alert">
        This view cannot be drawn; that is our mistake: {error.message}{" "}
        <Button
          size="compact-xs"
          variant="subtle"
          onClick={() => this.setState({ error: undefined })}
        >
          Try again
        </Button>
      </div>
    );
  }
}
