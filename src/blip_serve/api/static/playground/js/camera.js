// One picture from the camera, where the browser has one.

import { h } from "./dom.js";

/** Whether there is a way to ask for a camera: browsers give it to pages of localhost and of https only. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Shows the camera's view until a picture is taken. @param {(text: string) => void} fail says why there is none
 * @returns {Promise<File[]>} one file, or none
 */
export async function camera(fail) {
  let media;
  try {
    media = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    fail(error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.");
    return [];
  }
  const view = h("video", { autoplay: true, playsinline: true, srcObject: media });
  const dialog = h(
    "dialog",
    { class: "camera", "aria-label": "Camera" },
    view,
    h(
      "form",
      { method: "dialog", class: "row" },
      h("button", { value: "take", class: "button" }, "Take the picture"),
      h("button", { value: "", class: "quiet" }, "Cancel"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  try {
    const taken = dialog.returnValue === "take" ? await frame(view) : null;
    if (!taken && dialog.returnValue === "take") fail("The camera has shown nothing yet.");
    return taken ? [taken] : [];
  } finally {
    media.getTracks().forEach((track) => track.stop());
    dialog.remove();
  }
}

/** What the camera shows now, or null before it shows anything. */
async function frame(view) {
  if (!view.videoWidth) return null;
  const canvas = h("canvas", { width: view.videoWidth, height: view.videoHeight });
  canvas.getContext("2d").drawImage(view, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
