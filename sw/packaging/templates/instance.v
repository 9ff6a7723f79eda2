// An instance of {{ core.module }}: copy, and connect the wires.
{% for port in core.ports %}
wire {{ "[%d:0] " % (port.width - 1) if port.width > 1 }}{{ port.name }};
{% endfor %}

{{ core.module }} u_{{ core.module }} (
{% for port in core.ports %}
    .{{ port.name }}({{ port.name }}){{ "," if not loop.last }}
{% endfor %}
);
