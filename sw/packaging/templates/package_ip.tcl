# Packages the core for the IP catalogue: `vivado -mode batch -source package_ip.tcl` leaves it in
# the folder ip/, to be named in the project's list of IP repositories.
set here [file dirname [file normalize [info script]]]
create_project -force -in_memory package_ip
add_files $here/{{ core.module }}.v
set_property top {{ core.module }} [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir $here/ip -vendor vitrtl -library units -taxonomy /UserIP \
    -module {{ core.module }} -import_files -force
set core [ipx::current_core]
set_property name {{ core.module }} $core
set_property version {{ version.rpartition(".")[0] }} $core
set_property display_name {{ "{" }}{{ core.module }}{{ "}" }} $core
set_property description {{ "{" }}{{ core.summary }}{{ "}" }} $core
foreach bus {{ "{" }}{{ core.buses | join(" ") }}{{ "}" }} {
    ipx::associate_bus_interfaces -busif $bus -clock aclk $core
}
{% for port in core.interrupts %}
ipx::infer_bus_interface {{ port }} xilinx.com:signal:interrupt_rtl:1.0 $core
{% endfor %}
set_property core_revision 1 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
