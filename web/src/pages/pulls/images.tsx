import { useQuery } from "@tanstack/react-query";
import { pulledImages } from "../../api/pulls";
import type { ImagePulls } from "../../api/types";
import { ImageLabel } from "../../components/image-label";
import { ListState } from "../../components/list-state";
import { useMoreRows } from "../../components/more-rows";
import { PullFilterForm } from "../../components/pull-filter-form";
import { followLink } from "../../components/shell";
import { usePullFilter } from "../../components/use-pull-filter";
import { isFilteringPulls, PULL_FILTER_NONE } from "../../lib/pull-filter";
import { imagePercent, quantity } from "../../lib/pull-text";
import { pullsHref } from "../../lib/pull-views";

const LOOK_EVERY_MS = 2_000;

function Row({ image }: { image: ImagePulls }): React.JSX.Element {
  const percent = imagePercent(image);
  const filter = { ...PULL_FILTER_NONE, image: image.image };
  return (
    <tr data-testid="image">
      <th scope="row" className="cell-wide">
        <a href={pullsHref("live", filter)} onClick={followLink}>
          <ImageLabel image={image.image} digest={image.digest ?? ""} />
        </a>
        {image.failed > 0 && (
          <a
            className="cell-note alarm"
            href={pullsHref("history", { ...filter, state: "failed" })}
            onClick={followLink}
          >
            {image.failed} failed
          </a>
        )}
      </th>
      <td className="nowrap">
        {image.nodesDone} of {image.nodes} {image.nodes === 1 ? "node" : "nodes"}
        {image.active > 0 && <span className="cell-note">{image.active} active</span>}
      </td>
      <td className="image-progress">
        <div
          className="stat-bar"
          role="progressbar"
          aria-label="Progress"
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent}
          data-level={image.active === 0 && image.failed === 0 ? "done" : "fine"}
        >
          <div style={{ transform: `scaleX(${percent / 100})` }} />
        </div>
      </td>
      <td className="number">{percent} %</td>
      <td className="number">
        {image.active > 0
          ? `${quantity(image.downloadedBytes, "bytes")} of ${quantity(image.totalBytes, "bytes")}`
          : "–"}
      </td>
      <td className="number">
        {image.active > 0 ? quantity(image.bytesPerSec, "bytes-per-second") : "–"}
      </td>
    </tr>
  );
}

/** Each image over all nodes: how far a rollout is. */
export function PulledImages(): React.JSX.Element {
  const { filter, setFilter } = usePullFilter("images");
  const query = useQuery({
    queryKey: ["pulled-images", filter],
    queryFn: ({ signal }) => pulledImages(filter, signal),
    refetchInterval: LOOK_EVERY_MS,
    placeholderData: (previous) => previous,
  });
  const images = [...(query.data ?? [])].sort((a, b) => {
    return Number(b.active > 0) - Number(a.active > 0) || (a.image < b.image ? -1 : 1);
  });
  const { shown, more } = useMoreRows(images);
  return (
    <>
      <PullFilterForm filter={filter} states={false} onChange={setFilter} />
      <ListState
        query={query}
        count={images.length}
        empty={
          isFilteringPulls(filter)
            ? "No image fits the filter."
            : "No image was pulled lately. The history has those of before."
        }
      >
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Image</th>
                <th scope="col">Done on</th>
                <th scope="col">Progress</th>
                <th scope="col" className="number">
                  %
                </th>
                <th scope="col" className="number">
                  Downloaded
                </th>
                <th scope="col" className="number">
                  Speed
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((image) => (
                <Row key={`${image.image} ${image.digest}`} image={image} />
              ))}
            </tbody>
          </table>
        </div>
        {more}
      </ListState>
    </>
  );
}
