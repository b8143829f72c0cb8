// Starts Swagger UI on the document beside the page. `validatorUrl: null`: no badge asked of another host.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
